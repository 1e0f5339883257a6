"""What mail providers reported, in words, for `coursebell why`, `show` and `status`."""

from collections.abc import Iterator, Mapping, Sequence

from ledger.mail_reports import ReportCount, ReportView
from ledger.suppressions import Suppression
from schemas.choices import Choice, ChoiceOrigin
from schemas.mail_reports import ReportKind
from service.cli.common import local

_WORDS = {
    ReportKind.DELIVERED: "Delivered",
    ReportKind.DELAYED: "Delayed; the mail provider tries again",
    ReportKind.SOFT_BOUNCE: "Came back, for a cause that may pass",
    ReportKind.HARD_BOUNCE: "Came back: the address does not work",
    ReportKind.REFUSED: "Not sent by the mail provider",
    ReportKind.COMPLAINT: "Marked as spam",
    ReportKind.UNSUBSCRIBED: "Unsubscribed at the mail provider",
}
_BOUNCED = {
    ReportKind.HARD_BOUNCE: "an email to it came back",
    ReportKind.SOFT_BOUNCE: "several emails to it came back",
}

_HOW: Mapping[ChoiceOrigin | None, str] = {
    ChoiceOrigin.PAGE: ", on the page of email preferences",
    ChoiceOrigin.ONE_CLICK: ", with one click in a mail program",
    ChoiceOrigin.OPERATOR: ", by an operator",
    ChoiceOrigin.COMPLAINT: ", by marking an email as spam",
    ChoiceOrigin.PROVIDER: ", by unsubscribing at the mail provider",
    None: "",
}


def chosen_when(choice: Choice) -> str:
    """Return when and how a choice was made."""
    return f"chosen {local(choice.chosen_at)}{_HOW[choice.origin]}"


def bounced_how(one: Suppression) -> str:
    """Return what happened with emails to an address, and the cause."""
    return f"{_BOUNCED[one.kind]}{cause_of(one)}"


def cause_of(one: ReportView | Suppression) -> str:
    """Return who reported it and the cause in their words, in brackets."""
    words = " ".join(word for word in (one.code, one.detail) if word)
    return f" ({one.provider}{f': {words}' if words else ''})"


def said_lines(reports: Sequence[ReportView]) -> Iterator[str]:
    """Yield a line for each thing that was reported about an email; a repeated one once."""
    told = set()
    for one in reports:
        line = f"{_WORDS.get(one.kind, one.kind)} at {local(one.happened_at)}{cause_of(one)}"
        if one.is_of_other:
            line += ", about another address, such as one it was forwarded to"
        if one.kind not in told or one.kind is not ReportKind.DELAYED:
            yield line
        told.add(one.kind)


def suppression_line(one: Suppression, coworker_id: int) -> str:
    """Return since when no email is sent to a person, and what to do."""
    return (
        f"Their address bounced: nothing is sent to it since {local(one.since)}{cause_of(one)}. "
        "Correct it in Nexudus, or if it works: "
        f"coursebell bounces lift {coworker_id}"
    )


def count_lines(counts: Sequence[ReportCount], days: int) -> Iterator[str]:
    """Yield how many reports of each kind each provider made, and how many were about others."""
    for provider in dict.fromkeys(one.provider for one in counts):
        these = [one for one in counts if one.provider is provider]
        kinds = ", ".join(f"{one.number} {one.kind}" for one in these)
        others = sum(one.not_ours for one in these)
        rest = f"; {others} about emails that Coursebell did not send" if others else ""
        yield f"reports of {provider}, last {days} days: {kinds}{rest}"
