"""Measurements that are printed and never asserted. Loopback only; each ends by itself."""
