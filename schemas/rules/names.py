"""Which names in the rules does nothing at the source have? Such a rule never acts."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.rules.shape import Rules, Where
from schemas.text import folded, nearest


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is at the source. Names are None where the list of courses left them out.

    `courses` and `locations` are names by Id, `groups` those of courses. `seen_at` is when.
    """

    courses: Mapping[int, str | None]
    groups: frozenset[str | None]
    locations: Mapping[int, str | None]
    seen_at: datetime


def names_in(where: Where) -> list[tuple[str, str]]:
    """Return the names of a condition that the courses of the source can be asked for, by key."""
    keys = {"course": where.course, "group": where.group, "location": where.location}
    return [(key, name) for key, names in keys.items() for name in names]


def unknown_names(rules: Rules, catalogue: Catalogue | None) -> Iterator[str]:
    """Yield a sentence for each name in an enabled rule that nothing at the source has.

    Nothing is said while no course was seen, or where the list of courses leaves such names out.
    """
    if catalogue is None or not catalogue.courses:
        return
    known = {
        "course": (catalogue.courses.keys(), catalogue.courses.values()),
        "group": ((), catalogue.groups),
        "location": (catalogue.locations.keys(), catalogue.locations.values()),
    }
    for rule in rules.rules:
        for key, name in names_in(rule.where) if rule.enabled else ():
            ids, names = known[key]
            if not _is_known(name, ids, names):
                meant = nearest(name, [one for one in names if one])
                hint = f"; did you mean {meant}?" if meant else ""
                called = f"has the Id or the name {name}" if name.isdigit() else f"is called {name}"
                yield f"rule {rule.name}: no {key} at Nexudus {called}{hint}"


def _is_known(name: str, ids: Collection[int], names: Collection[str | None]) -> bool:
    if None in names:  # some are not known, so this may be one of them
        return True
    return folded(name) in {*map(str, ids), *map(folded, names)}
