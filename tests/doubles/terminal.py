"""What a person types, as it comes from a terminal: for commands that ask only there."""

import io


class Terminal(io.BytesIO):
    """What is typed, as an input that says it is a terminal."""

    def isatty(self) -> bool:
        return True
