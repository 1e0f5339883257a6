"""The Ids of a world, and whether any stands in it twice. Pure."""

from collections import Counter

from sandbox.world import World


def ids_of(world: World) -> dict[str, list[int]]:
    """Return the Ids of everything that is there from the start, by kind."""
    return {
        "locations": [one.id for one in world.places],
        "people": [one.id for one in world.people],
        "courses": [one.id for one in world.courses],
        "sections": [one.id for course in world.courses for one in course.sections],
        "lessons": [one.id for course in world.courses for one in course.lessons],
        "enrolments": [one.id for one in world.enrolments],
        "completions": [one.id for one in world.completions],
    }


def twins(world: World) -> list[str]:
    """Return a sentence for each Id that two of one kind have."""
    return [
        f"{kind}: The Id {one} stands here more than once."
        for kind, ids in ids_of(world).items()
        for one, times in Counter(ids).items()
        if times > 1
    ]
