"""Plays the reports of mail providers, signed as each provider signs them.

Written independently of the receiver's verifiers, as `sandbox.sender` is.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, random_serial_number
from cryptography.x509.oid import NameOID

CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"


@dataclass(frozen=True, slots=True)
class SignedReport:
    """The body and the headers of a request."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def with_password(report: object, secret: str) -> SignedReport:
    """Return a report as Postmark and Brevo send it to https://name:password@host."""
    given = base64.b64encode(f"reports:{secret}".encode()).decode()
    return SignedReport(json.dumps(report).encode(), {"Authorization": f"Basic {given}"})


def by_mailgun(data: Mapping[str, Any], key: str, token: str, now: datetime) -> SignedReport:
    """Return a report as Mailgun sends it: signed are a time and a token, not the event."""
    timestamp = str(int(now.timestamp()))
    signature = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": timestamp, "token": token, "signature": signature}
    return SignedReport(json.dumps({"signature": signed, "event-data": data}).encode())


class SendGridSender:
    """Signs reports with a key of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self._key.public_key().public_bytes(serialization.Encoding.DER, form)
        self.public_key = base64.b64encode(public).decode()

    def sign(self, events: object, now: datetime) -> SignedReport:
        """Return a batch of events as SendGrid sends it."""
        body, timestamp = json.dumps(events).encode(), str(int(now.timestamp()))
        signature = self._key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        headers = {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        return SignedReport(body, headers)


class SnsSender:
    """Signs messages of one topic with a key and a certificate of its own."""

    def __init__(self, topic: str, now: datetime) -> None:
        self._topic = topic
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        name = Name([NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        made = (
            CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365))
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(serialization.Encoding.PEM)

    def sign(
        self, message: object, now: datetime, *, version: str = "2", **others: str
    ) -> SignedReport:
        """Return a message as SNS sends it. `others` replace or add fields before it is signed."""
        fields = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": self._topic,
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.000Z",
            **others,
        }
        names = ["Message", "MessageId"]
        names += ["Subject"] if "Subject" in fields else []
        names += ["SubscribeURL"] if fields["Type"] != "Notification" else []
        names += ["Timestamp"]
        names += ["Token"] if fields["Type"] != "Notification" else []
        text = "".join(f"{name}\n{fields[name]}\n" for name in [*names, "TopicArn", "Type"])
        hashed = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - version 1 is SHA-1
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashed)
        signed = {
            "SignatureVersion": version,
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": CERTIFICATE_URL,
        }
        headers = {"Content-Type": "text/plain; charset=UTF-8"}
        return SignedReport(json.dumps(fields | signed).encode(), headers)
