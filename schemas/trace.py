"""The trace of a decision: which rules were tried on an event, and what each condition saw.

It says why an email was planned or not by the rules of that moment. It holds titles, names of
teams, locations and hosts, and no names or addresses of members.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CheckedCondition:
    """One condition of a rule: what the rules file wants, and what the event had.

    `name` is the key in the rules file. `saw` is None where the event had no such value.
    `is_excluded`: it stands under `not`, so it must not match. `holds` says whether the condition
    as a whole is met.
    """

    name: str
    wanted: tuple[str, ...]
    saw: str | None
    holds: bool
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class TriedRule:
    """One rule for this kind of event, and its conditions. `is_on`: it is enabled there."""

    rule: str
    is_on: bool
    conditions: tuple[CheckedCondition, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether all conditions were met."""
        return all(one.holds for one in self.conditions)


def dump_tried(tried: Sequence[TriedRule]) -> list[dict[str, Any]]:
    """Return these rules as JSON values, which `load_tried` reads."""
    return [
        {
            "rule": one.rule,
            "on": one.is_on,
            "conditions": [
                {
                    "name": each.name,
                    "wanted": list(each.wanted),
                    "saw": each.saw,
                    "holds": each.holds,
                    "excluded": each.is_excluded,
                }
                for each in one.conditions
            ],
        }
        for one in tried
    ]


def load_tried(stored: Sequence[Mapping[str, Any]]) -> tuple[TriedRule, ...]:
    """Return the rules that `dump_tried` wrote."""
    return tuple(
        TriedRule(
            one["rule"],
            one["on"],
            tuple(
                CheckedCondition(
                    each["name"],
                    tuple(each["wanted"]),
                    each["saw"],
                    each["holds"],
                    each["excluded"],
                )
                for each in one["conditions"]
            ),
        )
        for one in stored
    )
