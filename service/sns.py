"""Verifies messages of Amazon SNS, which carry the reports of Amazon SES.

By AWS's pages "Verifying the signatures of Amazon SNS messages" and "HTTP/HTTPS notification JSON
format". A certificate is fetched only from SNS in the region of our topic, and a subscription is
confirmed at that region's own address, never at the one in the message.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from schemas.errors import BadSignature, NotVerifiable, SourceUnavailable, Unreadable
from schemas.mail_reports import read_json, text_at, value_at
from schemas.reasons import Refusal
from schemas.settings.credentials import region_of

NOTIFICATION = "Notification"
CONFIRMATION = "SubscriptionConfirmation"
_END = "UnsubscribeConfirmation"
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: (
        *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
    _END: (*("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),),
}
# Version 1, the default of topics, is SHA-1.
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {"1": hashes.SHA1, "2": hashes.SHA256}
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
_LONGEST_SIGNATURE = 2_048  # characters

Certificates = Callable[[str], bytes]  # the PEM file at an address


@dataclass(frozen=True, slots=True)
class SnsMessage:
    """An authentic message of our topic. `token` confirms a subscription."""

    kind: str
    message: str
    token: str | None


def verified_message(
    body: bytes, topic: str, certificates: Certificates, now: datetime
) -> SnsMessage:
    """Return the message in a request of SNS.

    Raises:
        BadSignature: it is not signed by SNS, or of another topic.
        NotVerifiable: the certificate cannot be fetched or used.
    """
    try:
        row = read_json(body)
    except Unreadable:
        raise BadSignature(Refusal.MAIL_UNSIGNED) from None
    kind = text_at(row, "Type") or ""
    if kind not in _SIGNED or text_at(row, "Signature") is None:
        raise BadSignature(Refusal.MAIL_UNSIGNED)
    if value_at(row, "TopicArn") != topic:
        raise BadSignature(Refusal.MAIL_OTHER_TOPIC)
    address = value_at(row, "SigningCertURL")
    if not _is_of_sns(address, topic):
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE)
    try:
        pem = certificates(address)
    except SourceUnavailable:
        raise NotVerifiable from None
    _check(row, kind, pem, now)
    return SnsMessage(kind, row["Message"], text_at(row, "Token"))


def _is_of_sns(address: object, topic: str) -> bool:
    region, domain = region_of(topic)
    begins = f"https://sns.{region}.{domain}"
    if not isinstance(address, str) or not address.startswith(begins):
        return False
    return _CERTIFICATE.fullmatch(address.removeprefix(begins)) is not None


def _check(row: Mapping[str, Any], kind: str, pem: bytes, now: datetime) -> None:
    signature = value_at(row, "Signature")
    hashed = _HASHES.get(str(value_at(row, "SignatureVersion")))
    present = [name for name in _SIGNED[kind] if name in row or name != "Subject"]
    texts = [value_at(row, name) for name in present]
    is_whole = all(isinstance(one, str) for one in texts) and isinstance(signature, str)
    if hashed is None or not is_whole or len(signature) > _LONGEST_SIGNATURE:
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE)
    try:
        raw = b64decode(signature, validate=True)
    except ValueError:
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE) from None
    signed = "".join(f"{name}\n{text}\n" for name, text in zip(present, texts, strict=True))
    try:
        certificate = load_pem_x509_certificate(pem)
        key = certificate.public_key()
        is_valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        if not isinstance(key, RSAPublicKey) or not is_valid:
            raise NotVerifiable
        key.verify(
            raw,
            signed.encode("utf-8", "surrogatepass"),
            PKCS1v15(),
            hashed(),
        )
    except InvalidSignature:
        raise BadSignature(Refusal.MAIL_WRONG_SIGNATURE) from None
    except (ValueError, UnsupportedAlgorithm):
        raise NotVerifiable from None


def confirmation_address(topic: str, token: str) -> str:
    """Return the address at which a subscription to our topic is confirmed."""
    region, domain = region_of(topic)
    query = urlencode({"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token})
    return f"https://sns.{region}.{domain}/?{query}"
