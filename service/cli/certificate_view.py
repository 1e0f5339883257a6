"""A certificate as people read it: lines for a terminal, and one page to print.

The page has no script and loads nothing from elsewhere; other people's text on it is escaped.
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
# Shown in place of a reason.
_NO_REASONS = {
    "due": "To be read as soon as a worker is free",
    PLANNED: "Its email is sent when its time has come",
}
_MOST_SHOWN = 50  # differences; --json has them all

Row = tuple[str, Mapping[str, int]]  # a day, and numbers by the heads of the columns

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
HEADS = ("enrolled", "lessons", "here", *COLUMNS, "events", "sent")
_ALWAYS = frozenset({"enrolled", "lessons", "here"})
_FIRST = 14  # what a line begins with: a day, and blanks on both sides of it


def lines_of(document: Document, width: int | None = None) -> Iterator[str]:
    """Return what people read, with tables of `width` letters at most; None: of any width."""
    totals = row_of(document["totals"])
    heads = _fitting(totals, width)
    yield f"Certificate for {document['from']} to {document['to']} ({document['zone']})"
    made = _in_words(document["made_at"])
    yield f"of {document['tenant']}, made {made} with rules {document['rules']}."
    if document["is_cut"]:
        yield f"These days are not all over: it reaches to {_in_words(document['until'])}."
    yield ""
    for location, course, lines in _courses_of(document):
        yield f"{location}: {course}"
        yield from _table([(line["day"], row_of(line)) for line in lines], heads, width)
        yield ""
    yield "All"
    yield from _table([("all days", totals)], heads, width)
    left_out = [head for head in HEADS if head not in heads]
    if left_out:
        yield f"  0 and so not shown: {', '.join(left_out)}"
    carried_over = document["carried_over"]
    if carried_over:
        yield f"  Emails about these days that are counted on other days: {carried_over}"
    if document["attempts_kept_since"] is not None:
        yield f"  {_unchecked_attempts(document)}"
    yield ""
    yield from _reasons(document["reasons"])
    yield from _end(document)


def _courses_of(document: Document) -> Iterator[tuple[str, str, list[Document]]]:
    """Return location, course and lines of each course that has any."""

    def whose(line: Document) -> tuple[str, str]:
        return line["location"], line["course"]

    for (location, course), lines in groupby(document["lines"], whose):
        yield location, course, list(lines)


def _next_steps(document: Document) -> list[str]:
    """Return what to do about the differences."""
    kinds = {one["kind"] for one in document["differences"]}
    steps = []
    at_source = {"missing-here", "missing-there", "other-keys", "not-read"}
    if kinds & at_source:
        steps.append(f"coursebell reconcile --since {document['from']}")
    if kinds - at_source:
        steps.append("What is missing in the ledger itself comes back only from a backup of it.")
    return steps


def _difference(one: Document) -> str:
    """Return one difference in a line."""
    about = [one["person"], one["lesson"], one["course"], one["location"]]
    names = ", ".join(name for name in about if name)
    record = f", {_ENTITIES[one['entity']]} {one['id']}" if one["id"] is not None else ""
    return f"{one['day']}  {one['sentence']}: {names}{record}. {one['detail']}."


def _closing_of(document: Document) -> str:
    """Return whether the sums close, and which do not."""
    if document["closes"]:
        return "The sums close."
    apart = [
        f"{one['what']}: {one['counted']} counted, {one['shown']} in the tables"
        for one in document["sums"]
        if one["counted"] != one["shown"]
    ]
    return f"The sums do not close{' (' * bool(apart)}{'; '.join(apart)}{')' * bool(apart)}."


def _unchecked_attempts(document: Document) -> str:
    """Say of which emails the attempts were not checked, because they are no longer kept."""
    since = _in_words(document["attempts_kept_since"])
    return (
        f"Attempts to send are kept for {ATTEMPTS.days} days: for emails planned before {since}"
        " only the outcome was checked, and not each attempt."
    )


def _in_words(moment: str) -> str:
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
        yield f"Differences: none. {_closing_of(document)}"
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
        "sent": sum(one["number"] for one in numbers["emails"] if one["state"] == "written"),
    }


def _fitting(totals: Mapping[str, int], width: int | None) -> list[str]:
    """Return the columns to show: all, unless they are too wide; then not those of zeros alone."""
    if width is None or _needed(HEADS) <= width:
        return list(HEADS)
    return [head for head in HEADS if totals[head] or head in _ALWAYS]


def _table(rows: Sequence[Row], heads: Sequence[str], width: int | None) -> Iterator[str]:
    """Yield the lines of a table; what is still too wide continues below itself."""
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
    """Return the page for a signed document; it has a place for its own signature."""
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
        unchecked=_unchecked_attempts(document) if document["attempts_kept_since"] else "",
        steps=_next_steps(document),
        plain=json.dumps(document, sort_keys=True, ensure_ascii=True),
    )


def _sentence(word: str) -> str:
    known = {reason.value: EXPLANATIONS[reason].sentence for reason in Reason}
    return (known | _NO_REASONS).get(word, word)
