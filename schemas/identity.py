"""Who a sign-in provider says a person is, and why a sign-in with one fails.

A provider (OpenID Connect) knows a person by `iss` and `sub`: these never change and are never
given to another person, as an email address may be (OpenID Connect Core 1.0, sections 2 and 5.7).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from schemas.errors import CoursebellError

LONGEST_SUBJECT = 255  # characters; OpenID Connect Core 1.0, section 2


@dataclass(frozen=True, slots=True)
class Identity:
    """A person at one provider. Two people never have the same."""

    issuer: str
    subject: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a provider stated in a valid token.

    `email` is None unless the provider verified that the person reads that mailbox.
    """

    identity: Identity
    email: str | None = field(repr=False)


class SignInFault(StrEnum):
    """Why nobody was signed in with a provider."""

    NOT_BEGUN = "not-begun"  # not in this browser, too long ago, or answered before
    DENIED = "denied"  # the person cancelled, or the provider does not let them in here
    UNREACHABLE = "unreachable"  # the provider; later it may work
    SETTINGS = "settings"  # ours or the provider's: an engineer must correct them
    CODE = "code"  # it was used before, or too old
    CLOCK = "clock"  # the token is of another time
    AUDIENCE = "audience"  # the token is for another service
    TOKEN = "token"  # noqa: S105 - a fault: the token is not to be trusted
    NOT_VERIFIED = "not-verified"  # unknown here, and the address is not verified there
    UNKNOWN = "unknown"  # nobody added this person
    TAKEN = "taken"  # another account here is connected with this person at the provider


class SignInFailed(CoursebellError):
    """Nobody was signed in. The text is for the log, and has no token, address or secret."""

    def __init__(self, fault: SignInFault, why: str) -> None:
        super().__init__(why)
        self.fault = fault


def email_key(address: str) -> str:
    """Return the form in which addresses are compared.

    Only ASCII letters are made small: other foldings make addresses of different people equal.
    """
    return "".join(one.lower() if one.isascii() else one for one in address.strip())
