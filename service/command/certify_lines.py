"""A certificate as lines for people: a table for each course, its days, and what is missing."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from workers.certify.document import Document

# Which fates stand together, in columns that people can tell apart.
COLUMNS: Mapping[str, frozenset[str]] = {
    "written": frozenset({"written"}),
    "waiting": frozenset({"waiting"}),
    "held": frozenset({"held"}),
    "no email": frozenset({"skipped", "unwritten", "repeat", "no-event", "seen"}),
    "failed": frozenset({"failed", "unknown"}),
    "unread": frozenset({"open"}),
    "lost": frozenset({"unaccounted"}),
}
HEADS = ("enrolled", "lessons", "here", *COLUMNS, "events", "emails")
ENTITIES: Mapping[str, str] = {
    "CourseMember": "enrolment",
    "CourseCompletedLesson": "finished lesson",
}
_MOST_SHOWN = 50  # differences; --json has them all


def lines_of(document: Document) -> Iterator[str]:
    """Return what people read."""
    yield f"Certificate for {document['from']} to {document['to']} ({document['zone']})"
    made = in_words(document["made_at"])
    yield f"of {document['tenant']}, made {made} with rules {document['rules']}."
    if document["is_cut"]:
        yield f"These days are not all over: it reaches to {in_words(document['until'])}."
    yield ""
    for location, course, lines in courses_of(document):
        yield f"{location}: {course}"
        yield from _table([(line["day"], row_of(line)) for line in lines])
        yield ""
    yield "All"
    yield from _table([("all days", row_of(document["totals"]))])
    yield ""
    yield from _reasons(document["reasons"])
    yield from _end(document)


def courses_of(document: Document) -> Iterator[tuple[str, str, list[Document]]]:
    """Return location, course and lines of each course that has any."""

    def whose(line: Document) -> tuple[str, str]:
        return line["location"], line["course"]

    for (location, course), lines in groupby(document["lines"], whose):
        yield location, course, list(lines)


def row_of(numbers: Document) -> dict[str, int]:
    """Return the numbers of one row, by the heads of the columns."""
    there, here = numbers["at_source"], numbers["here"]
    fates = {
        head: sum(one["number"] for one in numbers["fates"] if one["fate"] in fates)
        for head, fates in COLUMNS.items()
    }
    return {
        "enrolled": there["enrolments"],
        "lessons": there["lessons"],
        "here": here["enrolments"] + here["lessons"],
        **fates,
        "events": sum(numbers["events"].values()),
        "emails": sum(one["number"] for one in numbers["emails"]),
    }


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


def in_words(moment: str) -> str:
    """Return a moment of the document as people read it."""
    return moment.replace("T", " ").replace("+00:00", " UTC")


def _table(rows: Iterable[tuple[str, dict[str, int]]]) -> Iterator[str]:
    yield f"  {'day':<10}  " + "  ".join(f"{head:>{_width(head)}}" for head in HEADS)
    for day, numbers in rows:
        yield f"  {day:<10}  " + "  ".join(f"{numbers[head]:>{_width(head)}}" for head in HEADS)


def _width(head: str) -> int:
    return max(len(head), 6)


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
        closes = "The sums close." if document["closes"] else "The sums do not close."
        yield f"Differences: none. {closes}"
        return
    yield f"Differences: {len(found)}"
    for one in found[:_MOST_SHOWN]:
        yield f"  {difference_of(one)}"
    if len(found) > _MOST_SHOWN:
        yield f"  and {len(found) - _MOST_SHOWN} more: --json has them all"
    for step in next_steps(document):
        yield f"Next: {step}"
