"""Digests in the rules file: what each may say, and every mistake with its line."""

import pytest

from schemas.actions import HOST
from schemas.errors import ConfigurationError
from schemas.rules import Catalogue, Every, Rules, Where, load_rules, unknown_names
from tests.builders.records import NOON
from workers.actions.registry import kinds_for_rules

HEAD = "version: 1\nrules: []\ndigests:\n"


def load(digests: str) -> Rules:
    return load_rules(HEAD + digests, "rules.yaml", actions=kinds_for_rules())


def test_a_short_digest_gets_the_defaults() -> None:
    [found] = load("  - {name: weekly, every: week, to: host}\n").digests
    assert (found.name, found.every, found.to, found.where) == (
        "weekly",
        Every.WEEK,
        (HOST,),
        Where(),
    )
    assert (found.stuck_after_s, found.enabled, found.is_to_hosts) == (14 * 86_400, True, True)


def test_a_digest_that_is_off_is_not_found() -> None:
    rules = load("  - {name: a, every: month, to: a@b.example, enabled: false}\n")
    assert rules.digest_named("a") is None
    assert "a@b.example" not in repr(rules)


@pytest.mark.parametrize(
    ("digest", "mistake"),
    [
        ("every: week, to: host", "4:5: digests[0].name: this key is missing"),
        ("name: a, to: host", "4:5: digests[0].every: this key is missing"),
        ("name: a, every: week", "4:5: digests[0].to: this key is missing"),
        ("name: a, every: day, to: host", "4:22: digests[0].every: expected week or month"),
        ("name: summary, every: week, to: host", "4:12: digests[0].name: expected 1 to 40"),
        (f"name: {'a' * 41}, every: week, to: host", "4:12: digests[0].name: expected 1 to 40"),
        ("name: a, every: week, to: member", "4:32: digests[0].to: expected host or an address"),
        ("name: a, every: week, to: [host, a@b.org]", "4:32: digests[0].to: expected host alone"),
        (
            "name: a, every: week, too: host",
            "digests[0].too: there is no such key; did you mean to",
        ),
        (
            "name: a, every: week, to: host, where: {completion: 50}",
            "digests[0].where.completion: expected only in rules",
        ),
        (
            "name: a, every: week, to: host, where: {not: {completion_type: none}}",
            "digests[0].where.not.completion_type: expected only in rules",
        ),
        ("name: a, every: week, to: host, stuck_after: 0d", "digests[0].stuck_after: expected a"),
    ],
)
def test_every_mistake_has_its_line(digest: str, mistake: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(f"  - {{{digest}}}\n")
    assert any(mistake in one for one in raised.value.mistakes), raised.value.mistakes


def test_two_digests_may_not_have_one_name() -> None:
    one = "  - {name: a, every: week, to: host}\n"
    with pytest.raises(ConfigurationError, match="another digest has this name"):
        load(one + one)


def test_a_digest_may_not_be_called_as_a_rule() -> None:
    text = (
        "version: 1\nrules:\n"
        "  - {name: a, event: enrolled, action: email, template: welcome}\n"
        "digests:\n  - {name: a, every: week, to: host}\n"
    )
    with pytest.raises(ConfigurationError) as raised:
        load_rules(text, "rules.yaml", actions=kinds_for_rules())
    assert raised.value.mistakes == [
        "rules.yaml:5:12: digests[0].name: a rule has this name; give the digest another"
    ]


def test_a_name_that_nexudus_does_not_have_is_a_warning() -> None:
    rules = load("  - {name: a, every: week, to: host, where: {course: Baking}}\n")
    catalogue = Catalogue({7: "Finance"}, frozenset(), {}, NOON)
    assert list(unknown_names(rules, catalogue)) == [
        "digest a: no course at Nexudus is called Baking"
    ]
