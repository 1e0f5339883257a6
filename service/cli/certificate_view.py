"""Renders a certificate for people: lines for a terminal, and a page to print.

The page has no script and loads nothing from elsewhere; text from Nexudus is escaped on it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ledger.retention import ATTEMPTS
from schemas.reasons import EXPLANATIONS, Reason
from workers.sync.document import KIND, PLANNED, Document

_TEMPLATE = "certificate.html"
_ENTITIES: Mapping[str, str] = {
    "CourseMember": "enrolment",
    "CourseCompletedLesson": "finished lesson",
}
# For rows without a reason code.
_NO_REASONS = {
    "due": "To be read as soon as a worker is free",
    PLANNED: "Its email is not due yet",
}
_MOST_SHOWN = 50  # differences; --json has them all

Row = tuple[str, Mapping[str, int]]  # a day, and numbers by column

# Which results of a row (`fates` in the document) each column sums up.
COLUMNS: Mapping[str, frozenset[str]] = {
    "written": frozenset({"written"}),
    "waiting": frozenset({"waiting"}),
    "held": frozenset({"held"}),
    "no email": frozenset({"skipped", "unwritten", "repeat", "no-event", "seen"}),
    "failed": frozenset({"failed", "unknown"}),
    "unread": frozenset({"open"}),
    "lost": frozenset({"unaccounted"}),
}
HEADS = ("enrolled", "lessons", "here", *COLUMNS, "events", "sent")
_ALWAYS = frozenset({"enrolled", "lessons", "here"})
_NOTHING = "Nothing to compare: Nexudus has no enrolment and no finished lesson of these days."
_FIRST = 14  # width of the day column with the blanks around it


def lines_of(document: Document, width: int | None = None) -> Iterator[str]:
    """Yield the certificate as text, with tables at most `width` characters wide if given."""
    totals = row_of(document["totals"])
    heads = _fitting(totals, width)
    yield f"Certificate for {document['from']} to {document['to']} ({document['zone']})"
    made = _in_words(document["made_at"])
    yield f"of {document['tenant']}, made {made} with rules {document['rules']}."
    if document["is_cut"]:
        yield f"The last day is not over: it covers the time to {_in_words(document['until'])}."
    yield ""
    for location, course, lines in _courses_of(document):
        yield f"{location}: {course}"
        yield from _table([(line["day"], row_of(line)) for line in lines], heads, width)
        yield ""
    yield "All"
    yield from _table([("all days", totals)], heads, width)
    left_out = [head for head in HEADS if head not in heads]
    if left_out:
        yield f"  Not shown, as 0: {', '.join(left_out)}"
    carried_over = document["carried_over"]
    if carried_over:
        yield f"  Emails about these days that count on other days: {carried_over}"
    if document["attempts_kept_since"] is not None:
        yield f"  {_unchecked_attempts(document)}"
    yield ""
    yield from _reasons(document["reasons"])
    yield from _end(document)


def _courses_of(document: Document) -> Iterator[tuple[str, str, list[Document]]]:
    """Yield location, course and lines of each course that has any."""

    def course_of(line: Document) -> tuple[str, str]:
        return line["location"], line["course"]

    for (location, course), lines in groupby(document["lines"], course_of):
        yield location, course, list(lines)


def _next_steps(document: Document) -> list[str]:
    """Return what to do about the differences."""
    kinds = {one["kind"] for one in document["differences"]}
    steps = []
    at_source = {"missing-here", "missing-there", "other-keys", "not-read"}
    if kinds & at_source:
        steps.append(f"coursebell reconcile --since {document['from']}")
    if kinds - at_source:
        steps.append("Restore what is missing in the ledger itself from a backup, if there is one.")
    return steps


def _difference(one: Document) -> str:
    """Return one difference as a line."""
    about = [one["person"], one["lesson"], one["course"], one["location"]]
    names = ", ".join(name for name in about if name)
    record = f", {_ENTITIES[one['entity']]} {one['id']}" if one["id"] is not None else ""
    return f"{one['day']}  {one['sentence']}: {names}{record}. {one['detail']}."


def _closing_of(document: Document) -> str:
    """Return whether the totals add up, and which do not."""
    if document["closes"]:
        return "The totals add up."
    wrong = [
        f"{one['what']}: {one['counted']} counted, {one['shown']} in the tables"
        for one in document["sums"]
        if one["counted"] != one["shown"]
    ]
    return f"The totals do not add up{' (' * bool(wrong)}{'; '.join(wrong)}{')' * bool(wrong)}."


def _unchecked_attempts(document: Document) -> str:
    """Return for which emails the attempts were not checked, as they are no longer stored."""
    since = _in_words(document["attempts_kept_since"])
    return (
        f"Attempts to send are kept for {ATTEMPTS.days} days: for emails planned before {since}"
        " only the outcome was checked, not each attempt."
    )


def _in_words(moment: str) -> str:
    """Return a moment of the document in words."""
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
        totals = row_of(document["totals"])
        is_empty = not totals["enrolled"] and not totals["lessons"]
        yield _NOTHING if is_empty else f"Differences: none. {_closing_of(document)}"
        return
    yield f"Differences: {len(found)}"
    for one in found[:_MOST_SHOWN]:
        yield f"  {_difference(one)}"
    if len(found) > _MOST_SHOWN:
        yield f"  and {len(found) - _MOST_SHOWN} more: --json has them all"
    if any(one["counted"] != one["shown"] for one in document["sums"]):
        yield _closing_of(document)
    for step in _next_steps(document):
        yield f"Next: {step}"


def row_of(numbers: Document) -> dict[str, int]:
    """Return the numbers of one row, by column."""
    there, here = numbers["at_source"], numbers["here"]
    results = {
        head: sum(one["number"] for one in numbers["fates"] if one["fate"] in summed)
        for head, summed in COLUMNS.items()
    }
    return {
        "enrolled": there["enrolments"],
        "lessons": there["lessons"],
        "here": here["enrolments"] + here["lessons"],
        **results,
        "events": sum(numbers["events"].values()),
        "sent": sum(one["number"] for one in numbers["emails"] if one["state"] == "written"),
    }


def _fitting(totals: Mapping[str, int], width: int | None) -> list[str]:
    """Return the columns to show: all if they fit, else without those that hold only zeros."""
    if width is None or _needed(HEADS) <= width:
        return list(HEADS)
    return [head for head in HEADS if totals[head] or head in _ALWAYS]


def _table(rows: Sequence[Row], heads: Sequence[str], width: int | None) -> Iterator[str]:
    """Yield the lines of a table; columns that do not fit continue below."""
    for some in _portions(heads, width):
        yield f"  {'day':<10}  " + "  ".join(f"{head:>{_width(head)}}" for head in some)
        for day, numbers in rows:
            yield f"  {day:<10}  " + "  ".join(f"{numbers[head]:>{_width(head)}}" for head in some)


def _portions(heads: Sequence[str], width: int | None) -> Iterable[list[str]]:
    chunks: list[list[str]] = [[]]
    for head in heads:
        too_wide = width is not None and _needed([*chunks[-1], head]) > width
        if too_wide and chunks[-1]:
            chunks.append([])
        chunks[-1].append(head)
    return chunks


def _needed(heads: Sequence[str]) -> int:
    return _FIRST + sum(_width(head) + 2 for head in heads) - 2


def _width(head: str) -> int:
    return max(len(head), 6)


def page_of(document: Document) -> str:
    """Return the page for a signed document, with a place for the page's own signature."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["utc"] = _in_words
    return environment.get_template(_TEMPLATE).render(
        kind=KIND,
        it=document,
        heads=HEADS,
        entities=_ENTITIES,
        courses=[
            (location, course, [(line["day"], row_of(line)) for line in lines])
            for location, course, lines in _courses_of(document)
        ],
        totals=row_of(document["totals"]),
        explained={word: _sentence(word) for word in document["reasons"]},
        closing=_closing_of(document),
        nothing=_NOTHING,
        unchecked=_unchecked_attempts(document) if document["attempts_kept_since"] else "",
        steps=_next_steps(document),
        plain=json.dumps(document, sort_keys=True, ensure_ascii=True),
    )


def _sentence(word: str) -> str:
    known = {reason.value: EXPLANATIONS[reason].sentence for reason in Reason}
    return (known | _NO_REASONS).get(word, word)
