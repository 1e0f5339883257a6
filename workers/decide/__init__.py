"""Decides what happened and what to do about it. Everything here is pure: values in, values out."""
