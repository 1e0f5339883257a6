"""Worlds from a file: who is there and what they did before anybody looked.

`file` reads it, `shape` says what may stand in it, `build` makes a world of it, and `crowd` makes
many people at once.
"""
