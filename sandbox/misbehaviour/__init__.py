"""The ways in which the stand-in misbehaves on request, as the real source does or worse."""
