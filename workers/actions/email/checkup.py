"""Checks the path to the mail server step by step, up to sending one test email.

It uses the settings, connection and message format of the emails that workers send. The server's
answers are shown without addresses.
"""

from collections.abc import Iterator

from ledger.clock import Clock
from schemas.checkup import Check, Topic, Verdict
from schemas.errors import (
    ChannelUnavailable,
    ConfigurationError,
    DeliveryRefused,
    DeliveryUnavailable,
    DeliveryUnknown,
)
from schemas.reasons import Reason
from schemas.settings import Settings
from workers.actions.email.access_token import SEE_TOKENS, TokenUnavailable
from workers.actions.email.answers import AddressUnusable
from workers.actions.email.branding import replaced_colour
from workers.actions.email.letter import Letter
from workers.actions.email.message import make_message
from workers.actions.email.smtp import Mailer, signer_of
from workers.preference_links import reaches_members

_STEPS = {
    "CONNECT": "connection",
    "EHLO": "introduction",
    "HELO": "introduction",
    "STARTTLS": "encryption",
    "AUTH": "login",
    "MAIL": "sender",
    "RCPT": "recipient",
    "DATA": "text",
    "END": "hand-over",
}
_URL = "COURSEBELL_SMTP_URL"
_FIXES = {
    Reason.MAIL_NOT_SET: f"Set {_URL} and COURSEBELL_MAIL_FROM, and start the worker again.",
    Reason.MAIL_UNREACHABLE: f"Check host and port in {_URL}, and that no firewall blocks them;"
    " port 465 needs tls=implicit, port 587 tls=starttls.",
    Reason.MAIL_BUSY: "Wait a little; if it stays, ask its administrator.",
    Reason.MAIL_REFUSES_US: f"Put user and password into {_URL} if the mail server wants a login;"
    " else ask its administrator why it refuses this machine, or name another server.",
    Reason.MAIL_TLS: f"Check port and tls= in {_URL}: port 465 needs tls=implicit, port 587"
    " tls=starttls.",
    Reason.MAIL_STARTTLS: f"Check port and tls= in {_URL}; port 465 needs tls=implicit.",
    Reason.MAIL_CERTIFICATE: f"Name the server in {_URL} as its certificate does; a certificate of"
    " your own must be trusted by this machine.",
    Reason.MAIL_LOGIN: f"Check user and password in {_URL}; special characters in them must be"
    " percent-encoded.",
    Reason.MAIL_SENDER: "Set COURSEBELL_MAIL_FROM to an address that this login may send from.",
    Reason.MAIL_RELAY: f"Put user and password into {_URL}, or let the mail server relay for this"
    " machine.",
    Reason.MAIL_INTERRUPTED: "Try again; if it stays, look at the mail server's log and at the"
    " network in between.",
}
_FIX_OF_TOKENS = (
    "Check COURSEBELL_SMTP_OAUTH_TOKEN_URL, the settings beside it, and that the user may send with"
    " such a token; a refresh token that ended must be replaced."
)
# The step that follows, for failures without an answer of their own.
_AFTER = {"sender": "recipient", "recipient": "text", "text": "text"}
_AT_LAST_ANSWER = frozenset({Reason.MAIL_CERTIFICATE, Reason.MAIL_TLS, Reason.MAIL_STARTTLS})
_AGAIN = "Try another address, or look at the mail server's log."


def mail_checks(
    settings: Settings, address: str | None, clock: Clock, *, must_work: bool
) -> Iterator[Check]:
    """Yield one check for each step; with `address`, one test email is sent there.

    `must_work` is whether emails may be sent now: only then is a missing server a problem.
    """
    if settings.smtp is None or settings.mail_from is None:
        missing = " and ".join(
            name
            for name, value in ((_URL, settings.smtp), ("COURSEBELL_MAIL_FROM", settings.mail_from))
            if value is None
        )
        is_problem = must_work or address is not None
        verdict = Verdict.PROBLEM if is_problem else Verdict.NOTE
        fix = f"Set {missing}, and start the worker again."
        yield Check(
            Topic.MAIL, "settings", verdict, f"{missing} not set; no email can be sent", fix
        )
        return
    on_answer: list[tuple[str, str]] = []
    try:
        mailer = Mailer.from_settings(
            settings, lambda verb, answer: on_answer.append((verb, answer))
        )
    except ConfigurationError as error:
        fix = (
            "Set COURSEBELL_DKIM_KEY_FILE to a file with the key; `openssl genrsa 2048` makes one."
        )
        yield Check(Topic.MAIL, "signature", Verdict.PROBLEM, error.mistakes[0], fix)
        return
    failure = _failure(mailer, settings, address, clock)
    steps = {_STEPS[verb]: answer for verb, answer in on_answer if verb in _STEPS}
    failed_at = "" if failure is None else _failed_step(steps, failure)
    for name, answer in steps.items():
        if name != failed_at:
            yield Check(Topic.MAIL, name, Verdict.OK, answer)
    yield from _checks_of_emails(settings, must_work=must_work)
    if failure is not None:
        yield _problem(failed_at, failure)
    elif address is None:
        found = "not tried; --mail ADDRESS sends a test email to that address"
        yield Check(Topic.MAIL, "test email", Verdict.NOTE, found)
    else:
        found = "the mail server accepted it; look for it in the inbox, or in the spam folder"
        yield Check(Topic.MAIL, "test email", Verdict.OK, found)


def _checks_of_emails(settings: Settings, *, must_work: bool) -> Iterator[Check]:
    """Check what emails themselves depend on."""
    yield _link_check(settings, must_work=must_work)
    yield from _signing_checks(settings)
    colour = replaced_colour(settings)
    if colour is not None:
        yield Check(Topic.MAIL, "colour", Verdict.NOTE, colour)


def _link_check(settings: Settings, *, must_work: bool) -> Check:
    """Check whether emails lead to the page where members choose which they get."""
    name = "email preferences"
    if reaches_members(settings):
        found = f"emails lead to {settings.public_url}, where members choose which they get"
        return Check(Topic.MAIL, name, Verdict.OK, found)
    found = "emails have no link to stop them, as COURSEBELL_PUBLIC_URL is no public https address"
    fix = "Set COURSEBELL_PUBLIC_URL to the https address at which members reach this service."
    verdict = Verdict.PROBLEM if must_work else Verdict.NOTE
    return Check(Topic.MAIL, name, verdict, found, fix)


def _signing_checks(settings: Settings) -> Iterator[Check]:
    """Say which DNS record receivers need. To look it up would need a library for DNS."""
    signer = signer_of(settings)
    if signer is not None:
        record = signer.record
        pieces = " ".join(f'"{piece}"' for piece in record.pieces)
        found = f"signed for {signer.domain}; DNS must have: {record.name} TXT {pieces}"
        yield Check(Topic.MAIL, "signature", Verdict.OK, found)


def _failure(
    mailer: Mailer | None, settings: Settings, address: str | None, clock: Clock
) -> Exception | None:
    if mailer is None:
        return None
    try:
        if address is None:
            mailer.probe()
        else:
            _send_test(mailer, settings, address, clock)
    except (DeliveryUnavailable, DeliveryRefused, DeliveryUnknown) as error:
        return error
    return None


def _send_test(mailer: Mailer, settings: Settings, address: str, clock: Clock) -> None:
    if settings.mail_from is None:
        raise ChannelUnavailable(Reason.MAIL_NOT_SET, "no sender is set")
    text = (
        "This is the test email you asked for with `coursebell doctor`.\n\n"
        "If you can read it, Coursebell can send emails through this mail server.\n"
    )
    paragraphs = "".join(f"<p>{line}</p>\n" for line in text.splitlines() if line)
    subject = "Coursebell: a test email"
    letter = Letter(subject, "", text, f"<!doctype html>\n{paragraphs}", "test")
    message = make_message(
        letter,
        sender=settings.mail_from,
        reply_to=settings.mail_reply_to,
        to_name="",
        to_address=address,
        action_key=f"doctor/{clock.new_id()}",
        made_at=clock.now(),
    )
    mailer.deliver(message, sender=settings.mail_from.address, recipient=address)


def _failed_step(steps: dict[str, str], failure: Exception) -> str:
    """Return the step that failed.

    It is the last answered step if its answer is the reason, else the step after it.
    """
    last = next(reversed(steps), None)
    if isinstance(failure, TokenUnavailable):
        return "access token"
    if last is None:
        return "connection"
    if isinstance(failure, DeliveryUnknown):
        return "hand-over"
    answer = getattr(failure, "answer", "") or getattr(failure, "detail", "")
    reason = failure.reason if isinstance(failure, ChannelUnavailable) else None
    if (answer and answer in steps[last]) or reason in _AT_LAST_ANSWER or reason is None:
        return last
    return _AFTER.get(last, last)


def _problem(name: str, failure: Exception) -> Check:
    if isinstance(failure, AddressUnusable):
        return Check(Topic.MAIL, "recipient", Verdict.PROBLEM, str(failure), _AGAIN)
    if isinstance(failure, ChannelUnavailable) and SEE_TOKENS in str(failure):
        return Check(Topic.MAIL, name, Verdict.PROBLEM, str(failure), _FIX_OF_TOKENS)
    if isinstance(failure, ChannelUnavailable):
        return Check(Topic.MAIL, name, Verdict.PROBLEM, str(failure), _FIXES[failure.reason])
    if isinstance(failure, DeliveryRefused):
        found = f"{failure}: {failure.detail}" if failure.detail else str(failure)
        return Check(Topic.MAIL, name, Verdict.PROBLEM, found, _AGAIN)
    return Check(Topic.MAIL, name, Verdict.PROBLEM, str(failure), "Try again in a few minutes.")
