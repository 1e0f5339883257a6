"""Standard input and output made safe: no character and no closed stream ends in a traceback.

`prepare_streams` is called once, before anything is printed.
"""

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import NoReturn, TextIO, cast

from workers.logs import UnfailingStream

_ASCII = "coursebell-ascii"


def prepare_streams() -> None:
    """Substitute what the terminal cannot show, and put something in place of closed streams.

    Without standard input there is nothing to read. Without standard output, printing raises
    `OSError`, as on a full disk. Failures to write to standard error are ignored.
    """
    # Opened in this order, each gets the lowest free number, which no file of ours must get.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    if sys.stdout is None:
        sys.stdout = _opened_nowhere(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _opened_nowhere(os.O_WRONLY)
    codecs.register(_plain_ascii)
    _substitute(sys.stdin, "replace")
    _substitute(sys.stdout, "replace")
    _substitute(sys.stderr, "backslashreplace")
    sys.stderr = cast("TextIO", UnfailingStream(sys.stderr))


def shows_unicode(stream: TextIO) -> bool:
    """Return whether every character can be written to this stream."""
    return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")


def end_without(output: TextIO, code: int) -> NoReturn:
    """End, and throw away what is still to be printed: it would be tried once more, and fail."""
    with suppress(OSError, ValueError):  # what stands in for an output may have no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output.fileno())
        os.close(nowhere)
    sys.exit(code)


def _opened_nowhere(flags: int) -> TextIO:
    number = os.open(os.devnull, flags)
    os.set_inheritable(number, True)  # noqa: FBT003 - takes no keyword; a child must not reuse the number
    return os.fdopen(number, "w", encoding="utf-8")


def _substitute(stream: TextIO, errors: str) -> None:
    if isinstance(stream, io.TextIOWrapper):
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors=errors)


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under a name of its own: click writes UTF-8 to a stream that is called ASCII."""
    if name.replace("_", "-") != _ASCII:
        return None
    plain = codecs.lookup("ascii")
    return codecs.CodecInfo(
        plain.encode,
        plain.decode,
        plain.streamreader,
        plain.streamwriter,
        plain.incrementalencoder,
        plain.incrementaldecoder,
        name=_ASCII,
    )
