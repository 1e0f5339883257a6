"""Parses the settings by which reports of mail providers are known to be authentic.

How providers prove that a report is theirs is on their pages "Verifying the signatures of Amazon
SNS messages" (AWS), "Getting Started with the Event Webhook Security Features" (Twilio SendGrid),
"Securing Webhooks" (Mailgun), "Webhooks" (Postmark: HTTP authentication) and "Secure webhook calls"
(Brevo).
"""

import re
from base64 import b64decode

from marshmallow import ValidationError

from schemas.settings.values import MIN_SECRET_LENGTH

_SNS_TOPIC = re.compile(
    r"arn:aws(?:-cn|-us-gov)?:sns:[a-z]{2}(?:-[a-z]+)+-[0-9]:[0-9]{12}:[A-Za-z0-9_-]{1,256}"
)
_PEM_LINE = re.compile(r"-----[A-Z ]+-----")
_VISIBLE = re.compile(r"[!-~]+")
_LONGEST_KEY = 2_000  # characters


def sns_topic(text: str) -> str:
    """Return the ARN of an SNS topic."""
    if not _SNS_TOPIC.fullmatch(text):
        raise ValidationError("expected an ARN such as arn:aws:sns:eu-west-1:123456789012:emails")
    return text


def region_of(topic: str) -> tuple[str, str]:
    """Return the region of a topic, and the domain of AWS that it belongs to."""
    _, partition, _, region, *_ = topic.split(":")
    return region, "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"


def header_secret(text: str) -> str:
    """Return a secret that is sent in a header, where only visible ASCII is safe.

    As the password of a web address it is also part of an address, but that is where each character
    can be written as it is or percent-encoded.
    """
    if len(text) < MIN_SECRET_LENGTH:
        raise ValidationError(f"expected at least {MIN_SECRET_LENGTH} characters")
    if not _VISIBLE.fullmatch(text):
        raise ValidationError("expected ASCII characters without spaces: it is sent in a header")
    return text


def public_key(text: str) -> str:
    """Return a public key in base64, as SendGrid shows it; the words of a PEM file are removed.

    Whether it is a key of the right kind is checked when the web process starts.
    """
    key = "".join(_PEM_LINE.sub("", text).split())
    try:
        is_key = bool(b64decode(key, validate=True)) and len(key) <= _LONGEST_KEY
    except ValueError:  # also if it has characters beyond ASCII
        is_key = False
    if not is_key:
        raise ValidationError("expected a public key in base64")
    return key
