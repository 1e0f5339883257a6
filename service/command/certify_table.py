"""The columns of a certificate, and its tables as text, as wide as a terminal is."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
HEADS = ("enrolled", "lessons", "here", *COLUMNS, "events", "sent")
_ALWAYS = frozenset({"enrolled", "lessons", "here"})
_FIRST = 14  # what a line begins with: a day, and blanks on both sides of it

Row = tuple[str, Mapping[str, int]]  # a day, and numbers by the heads of the columns


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


def fitting(totals: Mapping[str, int], width: int | None) -> list[str]:
    """Return the columns to show: all, unless they are too wide; then not those of zeros alone."""
    if width is None or _needed(HEADS) <= width:
        return list(HEADS)
    return [head for head in HEADS if totals[head] or head in _ALWAYS]


def table(rows: Collection[Row], heads: Sequence[str], width: int | None) -> Iterator[str]:
    """Return the lines of a table; one that is too wide still goes on below itself."""
    for some in _portions(heads, width):
        yield f"  {'day':<10}  " + "  ".join(f"{head:>{_width(head)}}" for head in some)
        for day, numbers in rows:
            yield f"  {day:<10}  " + "  ".join(f"{numbers[head]:>{_width(head)}}" for head in some)


def _portions(heads: Sequence[str], width: int | None) -> Iterable[list[str]]:
    portions: list[list[str]] = [[]]
    for head in heads:
        too_wide = width is not None and _needed([*portions[-1], head]) > width
        if too_wide and portions[-1]:
            portions.append([])
        portions[-1].append(head)
    return portions


def _needed(heads: Sequence[str]) -> int:
    return _FIRST + sum(_width(head) + 2 for head in heads) - 2


def _width(head: str) -> int:
    return max(len(head), 6)
