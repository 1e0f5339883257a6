"""How the stand-in misbehaves on request: every way the real source is known to, and some worse.

`catalogue` names the ways, `board` knows which are switched on, and the other rooms do them.
"""
