"""What people and systems touch: the receiver, health, and the command line."""
