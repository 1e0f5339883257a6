"""A stand-in Nexudus, its webhook sender and a mailbox in one program, for demos and tests.

Not for production: it keeps everything in memory, listens on loopback only and lets anybody on
this machine change it. It knows `schemas` and nothing else of ours, so that it can contradict us.
"""
