"""Whether a list may be believed about what is not on it. Pure.

A list that is short, for whatever reason, looks like one after many deletes. So what is not on it
counts as gone only if the list is as long as it says and not much is missing.
"""

from dataclasses import dataclass

from schemas.entity import Entity

NAMES = {
    Entity.COURSE_MEMBER: ("enrolment", "enrolments"),
    Entity.COMPLETED_LESSON: ("finished lesson", "finished lessons"),
}
_FEW = 10  # so many may be deleted in any space within a day
_SMALL_SHARE = 0.05
_WHEN_SURE = (
    "If they were deleted on purpose, run `coursebell reconcile --import --accept-gone`; "
    "each is then read by itself before it counts as gone."
)


@dataclass(frozen=True, slots=True)
class Listed:
    """How a list came: `rows` different ones, and how many it `stated` to have, if it did.

    `stated_after`: what it stated once more at the end, if it came on several pages.
    """

    rows: int
    stated: int | None
    pages: int
    stated_after: int | None = None


def doubt_about(
    entity: Entity, listed: Listed, known: int, absent: int, *, accept_gone: bool
) -> str | None:
    """Return why those `absent` from the list, of all `known`, do not count as gone, or None."""
    if not absent:
        return None
    return _incomplete(entity, listed) or (
        None if accept_gone else _too_many(entity, listed, known, absent)
    )


def counted(number: int, entity: Entity) -> str:
    """Return a number of records in words for people."""
    one, many = NAMES[entity]
    return f"{number:,} {one if number == 1 else many}"


def _incomplete(entity: Entity, listed: Listed) -> str | None:
    _, many = NAMES[entity]
    rest = "so nothing is taken as gone. Run it again later."
    if listed.stated is None or (listed.pages > 1 and listed.stated_after is None):
        return f"The list of {many} does not say how long it is, {rest}"
    most = max(listed.stated, listed.stated_after or 0)
    # On one page nothing can come in between; over several, some may have come since the count.
    if listed.rows < most or (listed.pages == 1 and listed.rows != listed.stated):
        return f"The list of {many} says it has {most:,} rows and {listed.rows:,} came, {rest}"
    return None


def _too_many(entity: Entity, listed: Listed, known: int, absent: int) -> str | None:
    _, many = NAMES[entity]
    if not listed.rows:
        return (
            f"The list of {many} is empty and {known:,} are known here, so nothing is taken as "
            f"gone. {_WHEN_SURE}"
        )
    if absent > max(_FEW, known * _SMALL_SHARE):
        return (
            f"Of {counted(known, entity)} here, {absent:,} are not on the list, which is too many "
            f"to be taken as gone. {_WHEN_SURE}"
        )
    return None
