"""Checks that a report comes from the mail provider: pure functions, one for each way.

By "Securing Webhooks" (Mailgun), "Getting Started with the Event Webhook Security Features" (Twilio
SendGrid), "Secure webhook calls" (Brevo) and "Webhooks" (Postmark). Amazon's are in `service.sns`.
The addresses that providers publish are no proof, so they are not asked for.
"""

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from schemas.errors import BadSignature, ConfigurationError
from schemas.mail_reports import value_at
from schemas.reasons import Refusal

# Providers repeat a report that was not answered for up to a day, perhaps as it was signed first.
_OLDEST = timedelta(days=2)
_NEWEST = timedelta(minutes=15)  # ahead of our clock
_SECONDS = re.compile(r"[0-9]{1,12}")
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_TOKEN = re.compile(r"[!-~]{1,100}")
_LONGEST_SIGNATURE = 512  # characters

AUTHORIZATION = "HTTP_AUTHORIZATION"
SENDGRID_SIGNATURE = "HTTP_X_TWILIO_EMAIL_EVENT_WEBHOOK_SIGNATURE"
SENDGRID_TIMESTAMP = "HTTP_X_TWILIO_EMAIL_EVENT_WEBHOOK_TIMESTAMP"


def check_password(header: str | None, secret: str) -> None:
    """Check the password of HTTP authentication, for any user name, or a bearer token.

    Raises:
        BadSignature: the header is missing or has another.
    """
    scheme, _, rest = (header or "").partition(" ")
    given = rest.strip().encode("utf-8", "surrogatepass")
    if scheme.lower() == "basic":
        try:
            given = b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            given = b""
    elif scheme.lower() != "bearer":
        given = b""
    if not given:
        raise BadSignature(Refusal.MAIL_UNSIGNED)
    if not hmac.compare_digest(given, secret.encode()):
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE)


def check_mailgun(report: object, key: str, now: datetime) -> str:
    """Check Mailgun's signature, which covers a time and a token only, and return the token.

    Raises:
        BadSignature: it is missing, wrong or too old.
    """
    signed = value_at(report, "signature")
    timestamp, token = value_at(signed, "timestamp"), value_at(signed, "token")
    timestamp = str(timestamp) if isinstance(timestamp, int) else timestamp
    signature = value_at(signed, "signature")
    parts = ((timestamp, _SECONDS), (token, _TOKEN), (signature, _HEX))
    if not all(isinstance(one, str) and form.fullmatch(one) for one, form in parts):
        raise BadSignature(Refusal.MAIL_UNSIGNED)
    right = hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex()
    if not hmac.compare_digest(right, signature.lower()):
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE)
    _check_time(timestamp, now)
    return str(token)


def sendgrid_key(setting: str) -> EllipticCurvePublicKey:
    """Return the key that verifies SendGrid's signatures.

    Raises:
        ConfigurationError: it is not such a key.
    """
    try:
        key = load_der_public_key(b64decode(setting))
    except ValueError:
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ConfigurationError(
            [
                (
                    "COURSEBELL_SENDGRID_PUBLIC_KEY: expected the verification key that SendGrid"
                    " shows for the signed Event Webhook"
                )
            ]
        )
    return key


def check_sendgrid_head(head: Mapping[str, str]) -> tuple[bytes, str]:
    """Return signature and time from the headers of a request.

    Raises:
        BadSignature: they are missing or malformed.
    """
    signature, timestamp = head.get(SENDGRID_SIGNATURE, ""), head.get(SENDGRID_TIMESTAMP, "")
    try:
        raw = b64decode(signature[:_LONGEST_SIGNATURE], validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or not _SECONDS.fullmatch(timestamp):
        raise BadSignature(Refusal.MAIL_UNSIGNED)
    return raw, timestamp


def check_sendgrid(
    head: Mapping[str, str], body: bytes, key: EllipticCurvePublicKey, now: datetime
) -> None:
    """Check SendGrid's signature over time and body.

    Raises:
        BadSignature: it is missing, wrong or too old.
    """
    signature, timestamp = check_sendgrid_head(head)
    try:
        key.verify(signature, timestamp.encode() + body, ECDSA(SHA256()))
    except InvalidSignature:
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE) from None
    _check_time(timestamp, now)


def _check_time(seconds: str, now: datetime) -> None:
    try:
        signed_at = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise BadSignature(Refusal.MAIL_STALE) from None
    if not now - _OLDEST <= signed_at <= now + _NEWEST:
        raise BadSignature(Refusal.MAIL_STALE)
