"""A wish that cannot be granted, for whoever asked: a person, a test or a seed file."""


class Refused(Exception):
    """The wish cannot be granted; carries the HTTP status that says so."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
