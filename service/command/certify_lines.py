"""A certificate as lines for people: a table for each course, its days, and what is missing."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from ledger.retention import ATTEMPTS
from service.command.certify_table import HEADS, fitting, row_of, table
from workers.certify.document import Document

ENTITIES: Mapping[str, str] = {
    "CourseMember": "enrolment",
    "CourseCompletedLesson": "finished lesson",
}
_MOST_SHOWN = 50  # differences; --json has them all


def lines_of(document: Document, width: int | None = None) -> Iterator[str]:
    """Return what people read, with tables of `width` letters at most; None: of any width."""
    totals = row_of(document["totals"])
    heads = fitting(totals, width)
    yield f"Certificate for {document['from']} to {document['to']} ({document['zone']})"
    made = in_words(document["made_at"])
    yield f"of {document['tenant']}, made {made} with rules {document['rules']}."
    if document["is_cut"]:
        yield f"These days are not all over: it reaches to {in_words(document['until'])}."
    yield ""
    for location, course, lines in courses_of(document):
        yield f"{location}: {course}"
        yield from table([(line["day"], row_of(line)) for line in lines], heads, width)
        yield ""
    yield "All"
    yield from table([("all days", totals)], heads, width)
    left_out = [head for head in HEADS if head not in heads]
    if left_out:
        yield f"  0 and so not shown: {', '.join(left_out)}"
    carried_over = document["carried_over"]
    if carried_over:
        yield f"  Emails about these days that are counted on other days: {carried_over}"
    if document["attempts_kept_since"] is not None:
        yield f"  {unchecked_attempts(document)}"
    yield ""
    yield from _reasons(document["reasons"])
    yield from _end(document)


def courses_of(document: Document) -> Iterator[tuple[str, str, list[Document]]]:
    """Return location, course and lines of each course that has any."""

    def whose(line: Document) -> tuple[str, str]:
        return line["location"], line["course"]

    for (location, course), lines in groupby(document["lines"], whose):
        yield location, course, list(lines)


def next_steps(document: Document) -> list[str]:
    """Return what to do about the differences."""
    kinds = {one["kind"] for one in document["differences"]}
    steps = []
    at_source = {"missing-here", "missing-there", "other-keys", "not-read"}
    if kinds & at_source:
        steps.append(f"coursebell reconcile --since {document['from']}")
    if kinds - at_source:
        steps.append("What is missing in the ledger itself comes back only from a backup of it.")
    return steps


def difference_of(one: Mapping[str, Any]) -> str:
    """Return one difference in a line."""
    about = [one["person"], one["lesson"], one["course"], one["location"]]
    names = ", ".join(name for name in about if name)
    record = f", {ENTITIES[one['entity']]} {one['id']}" if one["id"] is not None else ""
    return f"{one['day']}  {one['sentence']}: {names}{record}. {one['detail']}."


def closing_of(document: Document) -> str:
    """Return whether the sums close, and which do not."""
    if document["closes"]:
        return "The sums close."
    apart = [
        f"{one['what']}: {one['counted']} counted, {one['shown']} in the tables"
        for one in document["sums"]
        if one["counted"] != one["shown"]
    ]
    return f"The sums do not close{' (' * bool(apart)}{'; '.join(apart)}{')' * bool(apart)}."


def unchecked_attempts(document: Document) -> str:
    """Say of which emails the attempts were not checked, because they are no longer kept."""
    since = in_words(document["attempts_kept_since"])
    return (
        f"Attempts to send are kept for {ATTEMPTS.days} days: for emails planned before {since}"
        " only the outcome was checked, and not each attempt."
    )


def in_words(moment: str) -> str:
    """Return a moment of the document as people read it."""
    return moment.replace("T", " ").replace("+00:00", " UTC")


def _reasons(reasons: Document) -> Iterator[str]:
    for word, numbers in reasons.items():
        counted = ", ".join(
            f"{number} {name if number > 1 else name[:-1]}"
            for name, number in numbers.items()
            if number
        )
        yield f"  {word:<20} {counted}"
    if reasons:
        yield ""


def _end(document: Document) -> Iterator[str]:
    found = document["differences"]
    if not found:
        yield f"Differences: none. {closing_of(document)}"
        return
    yield f"Differences: {len(found)}"
    for one in found[:_MOST_SHOWN]:
        yield f"  {difference_of(one)}"
    if len(found) > _MOST_SHOWN:
        yield f"  and {len(found) - _MOST_SHOWN} more: --json has them all"
    if any(one["counted"] != one["shown"] for one in document["sums"]):
        yield closing_of(document)
    for step in next_steps(document):
        yield f"Next: {step}"
