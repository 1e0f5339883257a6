"""Measurements that are printed and never asserted, over loopback only."""
