"""Reads a seed file and returns the world in it, or all its mistakes, each with its place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from marshmallow import ValidationError

from sandbox.seed import BUILT_IN
from sandbox.seeding.build import Building
from sandbox.seeding.crowd import with_crowd
from sandbox.seeding.shape import SeedShape
from sandbox.world import World


class SeedMistaken(Exception):
    """The file cannot be used; `mistakes` are sentences."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("the seed file has mistakes")
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Seed:
    """What a run begins with: the world, and the switches that are on."""

    world: World = BUILT_IN
    misbehaviours: tuple[tuple[str, Mapping[str, object]], ...] = ()


def read_seed(path: Path) -> Seed:
    """Return what the file says.

    Raises:
        SeedMistaken: it cannot be read, or something in it is wrong.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SeedMistaken([f"The file cannot be read: {reason}."]) from error
    except yaml.YAMLError as error:
        raise SeedMistaken([f"The file is not YAML: {' '.join(str(error).split())}."]) from error
    return seed_of({} if said is None else said)


def seed_of(said: object) -> Seed:
    """Return what the content of a seed file says; see `read_seed`."""
    if not isinstance(said, dict):
        raise SeedMistaken(["The file must be one object."])
    try:
        loaded: dict[str, Any] = SeedShape().load(said)
    except ValidationError as error:
        raise SeedMistaken(sorted(_sentences("", error.messages))) from None
    building = Building(loaded)
    world = building.world()
    if not building.mistakes and "crowd" in loaded:
        try:
            world = with_crowd(world, loaded["crowd"])
        except ValueError as error:
            building.mistakes.append(f"crowd.{error}")
    if building.mistakes:
        raise SeedMistaken(building.mistakes)
    switches = [*loaded["misbehaviours"]]
    if loaded["quota"] is not None:
        switches.append(("quota", loaded["quota"]))
    return Seed(world, tuple(switches))


def _sentences(where: str, messages: object) -> Iterator[str]:
    if isinstance(messages, dict):
        for key, below in messages.items():
            if key == "_schema":
                yield from _sentences(where, below)
            elif isinstance(key, int):
                yield from _sentences(f"{where}[{key}]", below)
            else:
                yield from _sentences(f"{where}.{key}" if where else str(key), below)
    elif isinstance(messages, list):
        for one in messages:
            yield from _sentences(where, one)
    else:
        yield f"{where}: {messages}"
