"""Hashes and checks passwords of operators with argon2id, and says which are too easy to guess.

The parameters are the library's, which follow RFC 9106, section 4 (the second recommended option).
"""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

SHORTEST = 12  # characters
LONGEST = 256
_HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hashed(password: str) -> str:
    """Return what is stored of a password. Takes about 0.1 s and 64 MiB."""
    return _HASHER.hash(password)


def is_right(password: str, password_hash: str | None) -> bool:
    """Return whether this is the password; as slow for an account that has none."""
    try:
        _HASHER.verify(password_hash or _NOBODYS, password[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def needs_renewal(password_hash: str) -> bool:
    """Return whether a password was hashed with older parameters."""
    return _HASHER.check_needs_rehash(password_hash)


def is_weak(password: str, name: str) -> bool:
    """Return whether a password is too short, too long, or says little more than the name."""
    folded, own = password.casefold(), name.casefold()
    if not SHORTEST <= len(password) <= LONGEST or len(set(folded)) < SHORTEST // 2:
        return True
    return len(own) > 1 and len(folded.replace(own, "")) < SHORTEST // 2


# Of a random password that nobody knows, with the same parameters.
_NOBODYS = (
    "$argon2id$v=19$m=65536,t=3,p=4$xTXlGJ3PkN84/lClWDkqDw"
    "$qY3nl+GnjCxaFo2BvF/BaFbtwv6DWcCjlciOHvSHcac"
)
