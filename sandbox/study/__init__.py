"""A month of people who study, made up from a seed: what they do when, and who is told of it.

Pure. Whoever plays it on a stand-in turns places in the month into records.
"""
