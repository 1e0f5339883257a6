"""Translates the reports of each mail provider, whose words appear here and nowhere else.

The forms are those of the providers' pages: "Examples of event data that Amazon SES publishes to
Amazon SNS" and "Amazon SNS notification examples for Amazon SES" (AWS), "Bounce webhook", "Delivery
webhook", "Spam complaint webhook" and "Subscription change webhook" (Postmark), "Webhook Payloads"
(Mailgun), "Event Webhook Reference" (Twilio SendGrid) and "Transactional webhooks" (Brevo).
`tests/samples/mail_reports` has their examples. A kind that is not listed is of no use here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import Unreadable
from schemas.mail_reports import (
    MailReport,
    Provider,
    ReportKind,
    address_at,
    code_of,
    detail_of,
    needed,
    read_json,
    reference_in,
    text_at,
    time_at,
    value_at,
)

# The metadata under which Postmark returns our reference; see `ECHOED_HEADERS`.
_METADATA = "coursebell"
# Headers in which our reference is sent, because the provider's reports repeat them and do not have
# our Message-ID: "Custom metadata FAQ" (Postmark), "Transactional webhooks" (Brevo).
ECHOED_HEADERS: Mapping[Provider, str] = {
    Provider.POSTMARK: f"X-PM-Metadata-{_METADATA}",
    Provider.BREVO: "X-Mailin-custom",
}
_SES_TEST = "Successfully validated SNS topic"  # what SES publishes when a topic is set


@dataclass(slots=True)
class ParsedReports:
    """The reports of one request, and how many of its parts cannot be read."""

    reports: list[MailReport] = field(default_factory=list)
    unreadable: int = 0


def parse_reports(provider: Provider, body: bytes | str) -> ParsedReports:
    """Return the reports in a request of this provider; for SES in the message from SNS.

    Raises:
        Unreadable: the body as a whole cannot be read.
    """
    if provider is Provider.SES and body[: len(_SES_TEST)] in {_SES_TEST, _SES_TEST.encode()}:
        return ParsedReports()
    found = read_json(body)
    parsed = ParsedReports()
    for row in found if isinstance(found, list) else [found]:
        try:
            if not isinstance(row, Mapping):
                raise Unreadable("a report is not an object")  # noqa: TRY301 - counted below, with those of the parsers
            parsed.reports += _PARSERS[provider](row)
        except Unreadable:
            parsed.unreadable += 1
    return parsed


def _ses(row: Mapping[str, Any]) -> Iterator[MailReport]:
    event = text_at(row, "eventType") or needed(row, "notificationType")
    kind, part, recipients = _SES.get(event, (ReportKind.IGNORED, "mail", "destination"))
    if event == "Bounce" and text_at(row, "bounce", "bounceType") == "Permanent":
        kind = ReportKind.HARD_BOUNCE
    about = value_at(row, part)
    if event == "Complaint":
        kind = _SES_FEEDBACK.get(text_at(about, "complaintFeedbackType") or "", kind)
    if kind is ReportKind.IGNORED:
        return
    listed = value_at(row, "mail" if recipients == "destination" else part, recipients)
    for to in listed if isinstance(listed, list) else ():
        address = address_at(to, "emailAddress") or address_at({"to": to}, "to")
        words = (text_at(to, "diagnosticCode"), text_at(about, "smtpResponse"))
        yield MailReport(
            Provider.SES,
            kind,
            needed(row, "mail", "messageId")
            + (text_at(about, "feedbackId") or text_at(about, "timestamp") or ""),
            time_at(about, "timestamp") or time_at(row, "mail", "timestamp"),
            address,
            _ses_reference(row),
            text_at(row, "mail", "messageId"),
            code_of(text_at(to, "status") or _ses_code(about)),
            detail_of(*words, text_at(about, "reason"), text_at(about, "delayType")),
        )


_SES = {
    "Bounce": (ReportKind.SOFT_BOUNCE, "bounce", "bouncedRecipients"),
    "Complaint": (ReportKind.COMPLAINT, "complaint", "complainedRecipients"),
    "Delivery": (ReportKind.DELIVERED, "delivery", "recipients"),
    "DeliveryDelay": (ReportKind.DELAYED, "deliveryDelay", "delayedRecipients"),
    "Reject": (ReportKind.REFUSED, "reject", "destination"),
}


# What a complaint says that is none.
_SES_FEEDBACK = {
    "not-spam": ReportKind.IGNORED,  # the recipient took it back, or moved the email to the inbox
    "virus": ReportKind.REFUSED,
}


def _ses_code(about: object) -> str | None:
    names = ("bounceSubType", "complaintSubType", "complaintFeedbackType")
    return next(filter(None, (text_at(about, name) for name in names)), None)


def _ses_reference(row: Mapping[str, Any]) -> str | None:
    """Return our reference from the original headers, which SES includes if that is switched on."""
    headers = value_at(row, "mail", "headers")
    for header in headers if isinstance(headers, list) else ():
        if (text_at(header, "name") or "").lower() == "message-id":
            return reference_in(text_at(header, "value"))
    return reference_in(text_at(row, "mail", "commonHeaders", "messageId"))


def _postmark(row: Mapping[str, Any]) -> Iterator[MailReport]:
    record, kind = needed(row, "RecordType"), ReportKind.IGNORED
    if record == "Delivery":
        kind = ReportKind.DELIVERED
    elif record == "SubscriptionChange":
        if value_at(row, "SuppressSending") is True:
            cause = text_at(row, "SuppressionReason"), text_at(row, "Origin")
            kind = _POSTMARK_SUPPRESSIONS.get(cause[0] or "", kind)
            # Other origins are the operator's own work at Postmark.
            if cause == ("ManualSuppression", "Recipient"):
                kind = ReportKind.UNSUBSCRIBED
    elif record in {"Bounce", "SpamComplaint"}:
        kind = _POSTMARK_BOUNCES.get(needed(row, "Type"), kind)
    if kind is ReportKind.IGNORED:
        return
    times = ("DeliveredAt", "BouncedAt", "ChangedAt")
    stated = next((one for one in times if value_at(row, one) is not None), "BouncedAt")
    yield MailReport(
        Provider.POSTMARK,
        kind,
        f"{record} {text_at(row, 'ID') or ''} {text_at(row, 'MessageID') or ''}"
        f" {text_at(row, stated) or ''}",
        time_at(row, stated),
        address_at(row, "Email") or address_at(row, "Recipient"),
        reference_in(value_at(row, "Metadata", _METADATA)),
        text_at(row, "MessageID"),
        code_of(text_at(row, "Type") or text_at(row, "SuppressionReason")),
        detail_of(text_at(row, "Details")),
    )


_POSTMARK_BOUNCES = {
    "HardBounce": ReportKind.HARD_BOUNCE,
    "BadEmailAddress": ReportKind.HARD_BOUNCE,
    "SoftBounce": ReportKind.SOFT_BOUNCE,
    "Transient": ReportKind.SOFT_BOUNCE,
    "DnsError": ReportKind.SOFT_BOUNCE,
    "Blocked": ReportKind.SOFT_BOUNCE,
    "SpamNotification": ReportKind.SOFT_BOUNCE,  # the content was refused, by no person
    "VirusNotification": ReportKind.SOFT_BOUNCE,
    "DMARCPolicy": ReportKind.SOFT_BOUNCE,
    "Unknown": ReportKind.SOFT_BOUNCE,
    "SpamComplaint": ReportKind.COMPLAINT,
    "Unsubscribe": ReportKind.UNSUBSCRIBED,
    "ManuallyDeactivated": ReportKind.REFUSED,
    "SMTPApiError": ReportKind.REFUSED,
}
_POSTMARK_SUPPRESSIONS = {
    "HardBounce": ReportKind.HARD_BOUNCE,
    "SpamComplaint": ReportKind.COMPLAINT,
}


def _mailgun(row: Mapping[str, Any]) -> Iterator[MailReport]:
    event, data = needed(row, "event-data", "event"), value_at(row, "event-data")
    kind = _MAILGUN.get(event, ReportKind.IGNORED)
    reason = text_at(data, "reason")
    if event == "failed":
        # Of what is not tried again, only some causes are the address's.
        is_final = text_at(data, "severity") == "permanent"
        otherwise = ReportKind.SOFT_BOUNCE if is_final else ReportKind.DELAYED
        kind = _MAILGUN_REASONS.get(reason or "", otherwise) if is_final else otherwise
    message_id = text_at(data, "message", "headers", "message-id")
    yield MailReport(
        Provider.MAILGUN,
        kind,
        # Mailgun's ids are unique within a day.
        f"{text_at(data, 'id') or message_id or ''} {text_at(data, 'timestamp') or ''}",
        time_at(data, "timestamp"),
        address_at(data, "recipient"),
        reference_in(message_id),
        message_id,
        code_of(text_at(data, "delivery-status", "enhanced-code") or reason),
        detail_of(
            text_at(data, "delivery-status", "code"), text_at(data, "delivery-status", "message")
        ),
    )


_MAILGUN = {
    "delivered": ReportKind.DELIVERED,
    "rejected": ReportKind.REFUSED,
    "complained": ReportKind.COMPLAINT,
    "unsubscribed": ReportKind.UNSUBSCRIBED,
}
_MAILGUN_REASONS = {
    "bounce": ReportKind.HARD_BOUNCE,
    "suppress-bounce": ReportKind.HARD_BOUNCE,
    "suppress-complaint": ReportKind.COMPLAINT,
    "suppress-unsubscribe": ReportKind.UNSUBSCRIBED,
}


def _sendgrid(row: Mapping[str, Any]) -> Iterator[MailReport]:
    event = needed(row, "event")
    kind = _SENDGRID.get(event, ReportKind.IGNORED)
    reason = text_at(row, "reason")
    if event == "bounce" and text_at(row, "type") == "blocked":
        kind = ReportKind.SOFT_BOUNCE
    elif event == "dropped":
        kind = _SENDGRID_DROPS.get((reason or "").lower(), kind)
    if kind is ReportKind.IGNORED:
        return
    yield MailReport(
        Provider.SENDGRID,
        kind,
        needed(row, "sg_event_id"),
        time_at(row, "timestamp"),
        address_at(row, "email"),
        reference_in(value_at(row, "smtp-id")),
        # What SendGrid answered by SMTP, a dot, and which of its servers sent it.
        text_at(row, "sg_message_id"),
        code_of(text_at(row, "status")),
        detail_of(reason or text_at(row, "response")),
    )


_SENDGRID = {
    "delivered": ReportKind.DELIVERED,
    "deferred": ReportKind.DELAYED,
    "bounce": ReportKind.HARD_BOUNCE,
    "dropped": ReportKind.REFUSED,
    "spamreport": ReportKind.COMPLAINT,
    "unsubscribe": ReportKind.UNSUBSCRIBED,
    "group_unsubscribe": ReportKind.UNSUBSCRIBED,
}
_SENDGRID_DROPS = {
    "bounced address": ReportKind.HARD_BOUNCE,
    "invalid": ReportKind.HARD_BOUNCE,
    "spam reporting address": ReportKind.COMPLAINT,
    "unsubscribed address": ReportKind.UNSUBSCRIBED,
}


def _brevo(row: Mapping[str, Any]) -> Iterator[MailReport]:
    event = needed(row, "event")
    kind = _BREVO.get(event)
    if kind is None:
        return
    message_id = text_at(row, "message-id")
    yield MailReport(
        Provider.BREVO,
        kind,
        # Brevo's `id` is the webhook's, so this is all that identifies an event.
        f"{event} {message_id or ''} {text_at(row, 'ts_event') or text_at(row, 'ts_epoch') or ''}",
        time_at(row, "ts_event") or time_at(row, "ts_epoch"),
        address_at(row, "email"),
        reference_in(value_at(row, "X-Mailin-custom")) or reference_in(message_id),
        message_id,
        code_of(event),
        detail_of(text_at(row, "reason")),
    )


_BREVO = {
    "delivered": ReportKind.DELIVERED,
    "deferred": ReportKind.DELAYED,
    "soft_bounce": ReportKind.SOFT_BOUNCE,
    "hard_bounce": ReportKind.HARD_BOUNCE,
    "invalid_email": ReportKind.HARD_BOUNCE,
    "blocked": ReportKind.REFUSED,
    "error": ReportKind.REFUSED,
    "spam": ReportKind.COMPLAINT,
    "complaint": ReportKind.COMPLAINT,
    "unsubscribe": ReportKind.UNSUBSCRIBED,
    "unsubscribed": ReportKind.UNSUBSCRIBED,
}

_PARSERS: Mapping[Provider, Callable[[Mapping[str, Any]], Iterator[MailReport]]] = {
    Provider.SES: _ses,
    Provider.POSTMARK: _postmark,
    Provider.MAILGUN: _mailgun,
    Provider.SENDGRID: _sendgrid,
    Provider.BREVO: _brevo,
}
