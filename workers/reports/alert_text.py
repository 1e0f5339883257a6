"""What alerts say: one sentence for each cause, and the command that shows what to do."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo

from ledger.outages import PastOutage
from workers.actions.email.parts import Content, Paragraph, TitleList
from workers.actions.email.phrases import Foreign, Phrase, Writer
from workers.attention import MAIL
from workers.reports.alerts import Cause
from workers.reports.situation import MODE, NEXUDUS

_MOST_CAUSES = 12
_STATUS = "coursebell status"
_Said = Callable[[Writer, Cause, str], Phrase]  # the last is since when

_CAUSES: Mapping[str, _Said] = {
    "held": lambda write, cause, _: write.plural(
        "{number} email is held until you decide",
        "{number} emails are held until you decide",
        cause.count,
    ),
    "restored": lambda write, cause, _: write.plural(
        "{number} email may have been sent before the ledger was restored",
        "{number} emails may have been sent before the ledger was restored",
        cause.count,
    ),
    "unknown": lambda write, cause, _: write.plural(
        "{number} email may have been sent or not",
        "{number} emails may have been sent or not",
        cause.count,
    ),
    "failed": lambda write, cause, _: write.plural(
        "{number} email could not be sent", "{number} emails could not be sent", cause.count
    ),
    "lookups-failed": lambda write, cause, _: write.plural(
        "{number} record of Nexudus could not be read",
        "{number} records of Nexudus could not be read",
        cause.count,
    ),
    "paused": lambda write, _, since: write.phrase(
        "Emails have been paused since {time}", time=since
    ),
    MODE: lambda write, _, since: write.phrase("Sending has been off since {time}", time=since),
    MAIL: lambda write, _, since: write.phrase("No email has gone out since {time}", time=since),
    NEXUDUS: lambda write, _, since: write.phrase(
        "Nexudus has been out of reach since {time}", time=since
    ),
    "clocks": lambda write, _, __: write.phrase("The clocks of the machines differ"),
    "refused": lambda write, _, __: write.phrase("Deliveries of Nexudus or a relay are refused"),
    "hooks": lambda write, _, __: write.phrase(
        "A webhook of Nexudus no longer reports to Coursebell"
    ),
    "endpoints": lambda write, _, __: write.phrase("A program of yours cannot be posted to"),
    "silence": lambda write, _, since: write.phrase("Unusual silence since {time}", time=since),
    "lost": lambda write, cause, _: write.phrase(
        "Changes at {place} are no longer reported", place=Foreign(cause.place or "?")
    ),
}


def known_causes() -> frozenset[str]:
    """Return the codes of the causes that have a sentence."""
    return frozenset(_CAUSES)


def alert_content(  # noqa: PLR0913, PLR0917 - what is said, in which words, when and where
    new: Sequence[Cause],
    mail_was_away: Sequence[PastOutage],
    known: Sequence[Cause],
    write: Writer,
    now: datetime,
    zone: tzinfo,
) -> Content:
    """Return an alert about what is new, when no email could be sent, and what was said before."""
    said = [_sentence(cause, write, now, zone) for cause in new]
    for span in mail_was_away:
        begin, end = write.moment(span.begin, zone), write.moment(span.end, zone)
        over = write.phrase("No email could go out from {start} to {end}", start=begin, end=end)
        said.append(over)
    said += [_sentence(cause, write, now, zone) for cause in known]
    shown, more = said[:_MOST_CAUSES], len(said) - _MOST_CAUSES
    rest = [write.plural("and {number} other", "and {number} others", more)] if more > 0 else []
    command = Foreign(_STATUS, strong=True)
    advice = write.phrase("To see what to do, run {command}.", command=command)
    subject = write.phrase("Coursebell: {what}", what=shown[0].text())
    list_of = (TitleList((*shown, *rest)),) if said[1:] else ()
    return Content(
        subject, shown[0], tuple(shown[1:]) or (advice,), (*list_of, Paragraph((advice,)))
    )


def why_operator(write: Writer) -> Phrase:
    """Return the sentence that says why an operator gets an email."""
    return write.phrase(
        "You're getting this email because the settings of Coursebell name this address."
    )


def _sentence(cause: Cause, write: Writer, now: datetime, zone: tzinfo) -> Phrase:
    return _CAUSES[cause.code](write, cause, write.moment(cause.since or now, zone))
