"""Lets `python -m service` be the command `coursebell`."""

from service.command import main

main()
