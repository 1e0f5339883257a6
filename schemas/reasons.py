"""Closed lists of reasons: why something was not done (yet), and why a request was refused.

One enum for workers, pages, commands and metrics. A reason that is not here cannot be stored.

Nexudus switches a webhook off after ten answers in a row that are not 2xx (contract, section 5.4),
so every refusal that may concern its own deliveries is counted and shown to the operator.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """A reason code. Its sentence and who can act on it are in `EXPLANATIONS`."""

    GATHERING = "gathering"
    WEEKLY = "weekly"
    QUIET_HOURS = "quiet-hours"
    SEND_WINDOW = "send-window"
    HOLIDAY = "holiday"
    CAP_DAY = "cap-day"
    CAP_WEEK = "cap-week"
    REMINDER_LIMIT = "reminder-limit"
    NEXUDUS_REMINDED = "nexudus-reminded"
    PAUSED = "paused"
    ON_HOLD = "on-hold"
    FLOOD_GUARD = "flood-guard"
    OVER_FORECAST = "over-forecast"
    TOO_OLD = "too-old"
    RESTORED = "restored"
    OBSERVE = "observe"
    BEFORE_START = "before-start"
    IMPORTED = "imported"
    NOT_APPROVED = "not-approved"
    BLOCKED = "blocked"
    COURSE_INACTIVE = "course-inactive"
    MEMBER_INACTIVE = "member-inactive"
    NO_EMAIL = "no-email"
    OPTED_OUT_KIND = "opted-out-kind"
    OPTED_OUT_ALL = "opted-out-all"
    NO_CONSENT = "no-consent"
    SNOOZED = "snoozed"
    BOUNCED_BEFORE = "bounced-before"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    ACTIVE_MEANWHILE = "active-meanwhile"
    COMPLETED_MEANWHILE = "completed-meanwhile"
    CHANGED_MEANWHILE = "changed-meanwhile"
    KIND_OFF = "kind-off"
    NOTHING_HAPPENED = "nothing-happened"
    RECORD_GONE = "record-gone"
    NOT_THERE_YET = "not-there-yet"
    RECORD_STUCK = "record-stuck"
    NEXUDUS_DOWN = "nexudus-down"
    NEXUDUS_BUSY = "nexudus-busy"
    MAIL_TEMPORARY = "mail-temporary"
    MAIL_RATE = "mail-rate"
    MAIL_REJECTED = "mail-rejected"
    MAIL_TOO_LARGE = "mail-too-large"
    MAIL_NOT_SET = "mail-not-set"
    MAIL_UNREACHABLE = "mail-unreachable"
    MAIL_BUSY = "mail-busy"
    MAIL_REFUSES_US = "mail-refuses-us"
    MAIL_TLS = "mail-tls"
    MAIL_STARTTLS = "mail-starttls"
    MAIL_CERTIFICATE = "mail-certificate"
    MAIL_LOGIN = "mail-login"
    MAIL_SENDER = "mail-sender"
    MAIL_RELAY = "mail-relay"
    MAIL_INTERRUPTED = "mail-interrupted"
    DELIVERY_LATER = "delivery-later"
    DELIVERY_REFUSED = "delivery-refused"
    DELIVERY_DOWN = "delivery-down"
    DELIVERY_BUSY = "delivery-busy"
    WRITE_DENIED = "write-denied"
    ENDPOINT_ADDRESS = "endpoint-address"
    ENDPOINT_GONE = "endpoint-gone"
    ENDPOINT_REFUSES = "endpoint-refuses"
    HANDOVER_UNKNOWN = "handover-unknown"
    TEMPLATE_ERROR = "template-error"
    BAD_SIGNATURE = "bad-signature"
    UNREADABLE = "unreadable"
    NEXUDUS_REFUSED = "nexudus-refused"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an operator reads, and who can change it: `nobody`, `operator` or `engineer`."""

    sentence: str
    who_acts: str


EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.GATHERING: Explanation("Waiting for more lessons of the same sitting", "nobody"),
    Reason.WEEKLY: Explanation(
        "They chose one email a week about finished lessons, sent on Friday", "nobody"
    ),
    Reason.QUIET_HOURS: Explanation("It is night where they are", "nobody"),
    Reason.SEND_WINDOW: Explanation("It is outside the hours set for this email", "nobody"),
    Reason.HOLIDAY: Explanation("It is a day on which nothing is sent", "nobody"),
    Reason.CAP_DAY: Explanation("They reached the limit of emails for one day", "nobody"),
    Reason.CAP_WEEK: Explanation("They reached the limit of emails for seven days", "nobody"),
    Reason.REMINDER_LIMIT: Explanation(
        "They got the most reminders for one enrolment already", "nobody"
    ),
    Reason.NEXUDUS_REMINDED: Explanation(
        "Nexudus itself sent them a reminder in the last seven days", "nobody"
    ),
    Reason.PAUSED: Explanation("Sending is paused", "operator"),
    Reason.ON_HOLD: Explanation("Held by an operator", "operator"),
    Reason.FLOOD_GUARD: Explanation(
        "Many emails at once look like an import; check before they go", "operator"
    ),
    Reason.OVER_FORECAST: Explanation(
        "This rule sent more today than was forecast; check before more go", "operator"
    ),
    Reason.TOO_OLD: Explanation(
        "It happened too long ago to email about without asking", "operator"
    ),
    Reason.RESTORED: Explanation(
        "It may have been sent already, before the ledger was restored from a backup", "operator"
    ),
    Reason.OBSERVE: Explanation("Written and kept here, because sending was not on", "operator"),
    Reason.BEFORE_START: Explanation(
        "It happened before Coursebell was watching, or before sending was switched on", "nobody"
    ),
    Reason.IMPORTED: Explanation("Brought in on request, without sending an email", "operator"),
    Reason.NOT_APPROVED: Explanation("Their place on the course waits for approval", "operator"),
    Reason.BLOCKED: Explanation("They are blocked on this course", "nobody"),
    Reason.COURSE_INACTIVE: Explanation("The course is switched off in Nexudus", "nobody"),
    Reason.MEMBER_INACTIVE: Explanation("Their Nexudus account is inactive", "nobody"),
    Reason.NO_EMAIL: Explanation("Their profile has no usable email address", "operator"),
    Reason.OPTED_OUT_KIND: Explanation("They switched this kind of email off", "nobody"),
    Reason.OPTED_OUT_ALL: Explanation("They asked for no course emails", "nobody"),
    Reason.NO_CONSENT: Explanation("Reminders need their consent, and there is none", "nobody"),
    Reason.SNOOZED: Explanation("They asked for no emails for a while", "nobody"),
    Reason.BOUNCED_BEFORE: Explanation("Their address bounced before", "operator"),
    Reason.DUPLICATE: Explanation("They already got this; Nexudus reported it twice", "nobody"),
    Reason.SUPERSEDED: Explanation("They finished the course, so one email covers both", "nobody"),
    Reason.ACTIVE_MEANWHILE: Explanation("They came back before the reminder was due", "nobody"),
    Reason.COMPLETED_MEANWHILE: Explanation("They finished before the reminder was due", "nobody"),
    Reason.CHANGED_MEANWHILE: Explanation("It changed back before the email was due", "nobody"),
    Reason.KIND_OFF: Explanation("No rule acts on this", "operator"),
    Reason.NOTHING_HAPPENED: Explanation(
        "Nothing happened in that time that a digest could say", "nobody"
    ),
    Reason.RECORD_GONE: Explanation("Nexudus does not have this record, or no longer", "nobody"),
    Reason.NOT_THERE_YET: Explanation(
        "Nexudus reported it and does not show it yet; looking again", "nobody"
    ),
    Reason.RECORD_STUCK: Explanation(
        "Nexudus has it but fails to return it; trying again from time to time", "engineer"
    ),
    Reason.NEXUDUS_DOWN: Explanation("Nexudus did not answer; trying again", "nobody"),
    Reason.NEXUDUS_BUSY: Explanation("Nexudus asked us to slow down", "nobody"),
    Reason.MAIL_TEMPORARY: Explanation("The mail server said to try later; trying again", "nobody"),
    Reason.MAIL_RATE: Explanation(
        "It waits its turn, as COURSEBELL_MAIL_RATE limits how many emails go at a time", "nobody"
    ),
    Reason.MAIL_REJECTED: Explanation("The mail server refused it", "operator"),
    Reason.MAIL_TOO_LARGE: Explanation(
        "The email is larger than the mail server accepts", "engineer"
    ),
    Reason.MAIL_NOT_SET: Explanation(
        "No mail server or no sender is set, so no email can be sent", "engineer"
    ),
    Reason.MAIL_UNREACHABLE: Explanation(
        "The mail server cannot be reached; trying again", "engineer"
    ),
    Reason.MAIL_BUSY: Explanation("The mail server accepts no email now; trying again", "nobody"),
    Reason.MAIL_REFUSES_US: Explanation(
        "The mail server refuses this machine; trying again from time to time", "engineer"
    ),
    Reason.MAIL_TLS: Explanation(
        "The encrypted connection to the mail server fails; its port or tls= may be wrong",
        "engineer",
    ),
    Reason.MAIL_STARTTLS: Explanation(
        "STARTTLS does not work with the mail server as set, and nothing is sent unencrypted",
        "engineer",
    ),
    Reason.MAIL_CERTIFICATE: Explanation(
        "The mail server's certificate is not valid for it", "engineer"
    ),
    Reason.MAIL_LOGIN: Explanation("The mail server refuses our login", "engineer"),
    Reason.MAIL_SENDER: Explanation("The mail server refuses our sender address", "engineer"),
    Reason.MAIL_RELAY: Explanation(
        "The mail server does not relay to other domains for us; it may need a login", "engineer"
    ),
    Reason.MAIL_INTERRUPTED: Explanation(
        "The hand-over was cut off before the email was complete; trying again", "nobody"
    ),
    Reason.DELIVERY_LATER: Explanation(
        "The receiving system said to try later; trying again", "nobody"
    ),
    Reason.DELIVERY_REFUSED: Explanation("The receiving system refused it", "operator"),
    Reason.DELIVERY_DOWN: Explanation(
        "The receiving system fails or cannot be reached; trying again", "engineer"
    ),
    Reason.DELIVERY_BUSY: Explanation(
        "The receiving system accepts nothing for a while; trying again", "nobody"
    ),
    Reason.WRITE_DENIED: Explanation(
        "Our Nexudus user may not write notes or tasks; trying again from time to time", "engineer"
    ),
    Reason.ENDPOINT_ADDRESS: Explanation(
        "The endpoint's address is a private one that no setting allows", "engineer"
    ),
    Reason.ENDPOINT_GONE: Explanation(
        "The endpoint answered that it is gone for good; correct its address or remove it",
        "operator",
    ),
    Reason.ENDPOINT_REFUSES: Explanation(
        "The endpoint refuses every message; trying again from time to time", "operator"
    ),
    Reason.HANDOVER_UNKNOWN: Explanation(
        "The hand-over was cut off; it may or may not have been sent", "operator"
    ),
    Reason.TEMPLATE_ERROR: Explanation(
        "A value is missing, so the email was not written", "engineer"
    ),
    Reason.BAD_SIGNATURE: Explanation("It claimed to be from Nexudus, without proof", "engineer"),
    Reason.UNREADABLE: Explanation("Nexudus sent an answer that we cannot read", "engineer"),
    Reason.NEXUDUS_REFUSED: Explanation(
        "Nexudus refuses our sign-in or our roles; trying again from time to time", "engineer"
    ),
    Reason.INTERNAL_ERROR: Explanation("A fault in Coursebell stopped this", "engineer"),
}


# For these an action is held until an operator releases or skips it.
HOLD_REASONS = (
    Reason.FLOOD_GUARD,
    Reason.OVER_FORECAST,
    Reason.TOO_OLD,
    Reason.RESTORED,
    Reason.OBSERVE,
    Reason.BEFORE_START,
    Reason.IMPORTED,
    Reason.PAUSED,
    Reason.ON_HOLD,
)


class Refusal(StrEnum):
    """Why a request to a hook route was not accepted. The values are stored in the ledger."""

    NO_SECRET = "no-secret"
    UNSIGNED = "unsigned"
    MALFORMED_SIGNATURE = "malformed-signature"
    WRONG_SIGNATURE = "wrong-signature"
    NO_TOKEN = "no-token"
    MISSING_TOKEN = "missing-token"
    WRONG_TOKEN = "wrong-token"
    MAIL_NO_SECRET = "mail-no-secret"
    MAIL_UNSIGNED = "mail-unsigned"
    MAIL_WRONG_SIGNATURE = "mail-wrong-signature"
    MAIL_STALE = "mail-stale"
    MAIL_REPLAYED = "mail-replayed"
    MAIL_OTHER_TOPIC = "mail-other-topic"
    MAIL_NO_CERTIFICATE = "mail-no-certificate"
    UNKNOWN_ROUTE = "unknown-route"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    OVERLOADED = "overloaded"
    NOT_STORED = "not-stored"


HOOK_REFUSALS = frozenset(
    {
        Refusal.NO_SECRET,
        Refusal.UNSIGNED,
        Refusal.MALFORMED_SIGNATURE,
        Refusal.WRONG_SIGNATURE,
    }
)
RELAY_REFUSALS = frozenset({Refusal.NO_TOKEN, Refusal.MISSING_TOKEN, Refusal.WRONG_TOKEN})
MAIL_REFUSALS = frozenset(
    {
        Refusal.MAIL_NO_SECRET,
        Refusal.MAIL_UNSIGNED,
        Refusal.MAIL_WRONG_SIGNATURE,
        Refusal.MAIL_STALE,
        Refusal.MAIL_REPLAYED,
        Refusal.MAIL_OTHER_TOPIC,
        Refusal.MAIL_NO_CERTIFICATE,
    }
)
# Refusals of requests whose sender is not authenticated.
UNAUTHENTICATED = HOOK_REFUSALS | RELAY_REFUSALS | MAIL_REFUSALS | {Refusal.UNKNOWN_ROUTE}

# Strangers rarely send a signature or a token at all, so these are probably our own webhooks, relay
# or mail provider with another secret.
LIKELY_OURS = frozenset(
    {Refusal.WRONG_SIGNATURE, Refusal.WRONG_TOKEN, Refusal.MAIL_WRONG_SIGNATURE, Refusal.MAIL_STALE}
)
# The operator acts on these until a delivery is accepted again. An overloaded receiver refuses
# authentic deliveries too, while its health routes still answer.
NEEDS_PERSON = LIKELY_OURS | {Refusal.OVERLOADED}


@dataclass(frozen=True, slots=True)
class RefusalText:
    """What the operator reads: the cause after "refused: ", and what to do."""

    cause: str
    advice: str


REFUSALS: dict[Refusal, RefusalText] = {
    Refusal.NO_SECRET: RefusalText(
        "no webhook secret is configured",
        "set COURSEBELL_HOOK_SECRETS to the shared secret of the webhooks at Nexudus",
    ),
    Refusal.UNSIGNED: RefusalText(
        "the signature header is missing",
        "if Nexudus sent them, set a shared secret for its webhooks",
    ),
    Refusal.MALFORMED_SIGNATURE: RefusalText(
        "the signature is not 64 hex digits",
        "if a proxy changes headers, let X-Nexudus-Hook-Signature through unchanged",
    ),
    Refusal.WRONG_SIGNATURE: RefusalText(
        "the signature does not match",
        "compare COURSEBELL_HOOK_SECRETS with the shared secret at Nexudus",
    ),
    Refusal.NO_TOKEN: RefusalText(
        "no relay token is configured",
        "set COURSEBELL_RELAY_TOKENS to the token that the relay sends",
    ),
    Refusal.MISSING_TOKEN: RefusalText(
        "the relay token is missing",
        "let the relay send the header Authorization: Bearer and its token",
    ),
    Refusal.WRONG_TOKEN: RefusalText(
        "the relay token is wrong",
        "compare COURSEBELL_RELAY_TOKENS with the token in the relay",
    ),
    Refusal.MAIL_NO_SECRET: RefusalText(
        "no secret of this mail provider is configured",
        "set it as docs/mail-reports.md says, or remove the webhook at the provider",
    ),
    Refusal.MAIL_UNSIGNED: RefusalText(
        "a report of the mail provider has no password or signature",
        "switch the signature or password on at the provider, as docs/mail-reports.md says",
    ),
    Refusal.MAIL_WRONG_SIGNATURE: RefusalText(
        "the password or signature of a report of the mail provider is wrong",
        "compare the secret at the provider with the setting, as docs/mail-reports.md says",
    ),
    Refusal.MAIL_STALE: RefusalText(
        "a report of the mail provider was signed at another time",
        "set the clock of this machine by NTP; older reports are not accepted",
    ),
    Refusal.MAIL_REPLAYED: RefusalText(
        "a signature of the mail provider came again with another report",
        "someone may have read a report on its way; replace the signing key at Mailgun",
    ),
    Refusal.MAIL_OTHER_TOPIC: RefusalText(
        "a message of Amazon SNS is of another topic",
        "compare COURSEBELL_SES_TOPIC with the ARN of the topic",
    ),
    Refusal.MAIL_NO_CERTIFICATE: RefusalText(
        "the certificate of Amazon SNS cannot be fetched or used",
        "let this machine connect to sns.<region>.amazonaws.com on port 443",
    ),
    Refusal.UNKNOWN_ROUTE: RefusalText(
        "no hook route has that address",
        "compare the address of the webhook with the routes in the README",
    ),
    Refusal.TOO_LARGE: RefusalText(
        "the body was too large",
        "let the sender split it into several requests",
    ),
    Refusal.TOO_SLOW: RefusalText(
        "the body did not arrive in time",
        "look at the network and at any proxy in front of Coursebell",
    ),
    Refusal.OVERLOADED: RefusalText(
        "too many requests arrived at once",
        "if this lasts, limit connections in a proxy in front of Coursebell",
    ),
    Refusal.NOT_STORED: RefusalText(
        "the ledger could not be written",
        "look at COURSEBELL_DATABASE_URL, its server and its disk",
    ),
}
