"""The sign-in at the source: who asks for tokens and when, and how they are asked for."""

from workers.source.sign_in.grants import REFRESH_LIFE, Credentials, InvalidGrant, credentials_of
from workers.source.sign_in.tokens import Tokens

__all__ = ["REFRESH_LIFE", "Credentials", "InvalidGrant", "Tokens", "credentials_of"]
