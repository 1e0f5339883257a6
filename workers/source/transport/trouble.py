"""Tells an operator in a sentence why there was no answer.

An exception's own text may quote the address with its query, so only its kind is looked at.
"""

import ssl
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead

from requests.exceptions import InvalidURL
from urllib3.exceptions import (
    ConnectTimeoutError,
    DecodeError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

# Codes of OpenSSL's verification. The others all mean that nobody we trust signed it.
_CERTIFICATES = {
    9: "its certificate is not valid yet; is this machine's clock right?",
    10: "its certificate has expired",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
_UNTRUSTED = "its certificate is not trusted"

# The first row that fits anything within the error. What is told apart stands before what it is.
_SENTENCES: tuple[tuple[type[BaseException], str], ...] = (
    (InvalidURL, "COURSEBELL_NEXUDUS_URL is not the address of a host"),
    (NameResolutionError, "its name cannot be resolved"),
    (ssl.SSLEOFError, "it broke the connection off"),
    (ssl.SSLError, "no encrypted connection can be made with it; is it https at all?"),
    (ConnectionRefusedError, "nobody listens at its address"),
    (NewConnectionError, "it cannot be reached"),  # also a `ConnectTimeoutError`
    (ConnectTimeoutError, "it cannot be reached in time"),
    (ReadTimeoutError, "it did not finish its answer in time"),
    (TimeoutError, "it did not finish its answer in time"),
    (ConnectionError, "it broke the connection off"),  # reset, or closed without an answer
    (IncompleteRead, "its answer breaks off"),
    (DecodeError, "its answer cannot be unpacked"),
    (InvalidHeader, "what it answers is not HTTP"),
    (HTTPException, "what it answers is not HTTP"),
    (OSError, "it cannot be reached"),
)


def sentence_of(error: BaseException) -> str:
    """Return what kind of trouble it is, without address, query or token."""
    within = list(_within(error))
    for one in within:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _CERTIFICATES.get(one.verify_code, _UNTRUSTED)
    for kind, sentence in _SENTENCES:
        if any(isinstance(one, kind) for one in within):
            return sentence
    return type(error).__name__


def _within(error: BaseException, depth: int = 8) -> Iterator[BaseException]:
    """Give an error and what it was made of; libraries wrap in three ways."""
    yield error
    causes = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    for cause in causes if depth else ():
        if isinstance(cause, BaseException):
            yield from _within(cause, depth - 1)
