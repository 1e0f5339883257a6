"""A stand-in Nexudus with its webhooks and a mailbox in one program, for demos and tests.

Not for production: it keeps everything in memory, listens on loopback only, and can be changed by
any user of this machine. It imports `schemas` and nothing else of ours, so that it can contradict
the rest.
"""
