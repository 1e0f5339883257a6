"""Decides what happened and which actions follow. Pure: values in, values out."""
