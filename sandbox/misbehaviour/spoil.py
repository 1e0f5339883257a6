"""What becomes of a true answer before it leaves: other bytes, a delay, a bad way to travel.

The bytes are put on the wire by `breaking`; here it is only noted how.
"""

from flask import Response, request

from sandbox.breaking import KEY, Broken, How
from sandbox.misbehaviour.board import Board

_MEBIBYTE = 2**20


def spoil(board: Board, path: str, answer: Response) -> Response:
    """Change the answer's bytes as the switches say."""
    if (found := board.take("wrong-charset", path)) is not None:
        said = answer.headers.get("Content-Type")
        # What a charset cannot write becomes a question mark.
        answer.set_data(answer.get_data(as_text=True).encode(found.text("charset"), "replace"))
        answer.headers["Content-Type"] = said or "application/json; charset=utf-8"
    if (found := board.take("too-large", path)) is not None:
        wanted = found.whole("mebibytes") * _MEBIBYTE
        answer.set_data(answer.get_data() + b" " * max(0, wanted + 1 - len(answer.get_data())))
    if board.take("bad-gzip", path) is not None:
        answer.headers["Content-Encoding"] = "gzip"
    return answer


def delay(board: Board, path: str) -> None:
    """Return when the answer may go; at once when latency is switched off meanwhile."""
    found = board.take("latency", path)
    if found is not None:
        found.over.wait(found.number("seconds") + board.spread(found.number("jitter")))


def note_how_it_travels(board: Board, path: str) -> None:
    """Say in the request's environment how its answer is to be put on the wire."""
    for how in How:
        found = board.take(how.value, path)
        if found is not None:
            drops = found.whole("bytes") if "bytes" in found.values else 1
            pause_s = found.number("seconds") if "seconds" in found.values else 0.0
            request.environ[KEY].broken = Broken(how, pause_s, max(1, drops), found.over)
            return
