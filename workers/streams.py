"""The standard streams of our programs: no character and no closed stream ends in a traceback.

The command line imports this before everything else, so it must import little.
"""

import codecs
import io
import os
import sys
from contextlib import suppress
from typing import NoReturn, TextIO, cast

_ASCII = "coursebell-ascii"


class UnfailingStream:
    """A text stream that ignores failures to write, as of a full disk or a closed stream.

    A lost log line must not end a process.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text if possible. Raises `TypeError` for bytes, as text streams do."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def prepare_streams() -> None:
    """Replace characters that the terminal cannot show, and open a stand-in for closed streams.

    Call it once, before anything is printed. A closed standard input reads as empty. Printing to a
    closed standard output raises `OSError`, as on a full disk. Failures to write to standard error
    are ignored.
    """
    # In this order each gets its own standard number back, so that no other file can get it.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    if sys.stdout is None:
        sys.stdout = _open_null(os.O_RDONLY)
    if sys.stderr is None:
        sys.stderr = _open_null(os.O_WRONLY)
    codecs.register(_plain_ascii)
    _substitute(sys.stdin, "replace")
    _substitute(sys.stdout, "replace")
    _substitute(sys.stderr, "backslashreplace")
    sys.stderr = cast("TextIO", UnfailingStream(sys.stderr))


def shows_unicode(stream: TextIO) -> bool:
    """Return whether every character can be written to this stream."""
    return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")


def exit_discarding(output: TextIO, code: int) -> NoReturn:
    """Exit and discard buffered output, which Python would otherwise try to write again."""
    with suppress(OSError, ValueError):  # the output may be a stand-in without a file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, output.fileno())
        os.close(null)
    sys.exit(code)


def _open_null(flags: int) -> TextIO:
    number = os.open(os.devnull, flags)
    os.set_inheritable(number, True)  # noqa: FBT003 - takes no keyword; a child must not reuse the number
    return os.fdopen(number, "w", encoding="utf-8")


def _substitute(stream: TextIO, errors: str) -> None:
    if isinstance(stream, io.TextIOWrapper):
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding=_ASCII if is_ascii else stream.encoding, errors=errors)


def _plain_ascii(name: str) -> codecs.CodecInfo | None:
    """Return the ASCII codec under another name: click writes UTF-8 to streams named ASCII."""
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
