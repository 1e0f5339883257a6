"""Every table of the ledger has a rule for how long its rows are kept, and the page says it."""

from ledger.retention import RULES, KeptFor, KeptForever
from ledger.tables import metadata
from tests.house.source_tree import table_rows


def test_every_table_has_a_rule() -> None:
    assert {rule.table.name for rule in RULES} == set(metadata.tables)


def test_no_table_is_kept_for_ever_and_for_some_days() -> None:
    limited = {rule.table.name for rule in RULES if isinstance(rule, KeptFor)}
    for_ever = [rule.table.name for rule in RULES if isinstance(rule, KeptForever)]
    assert len(for_ever) == len(set(for_ever))
    assert not limited & set(for_ever)


def test_the_page_says_how_long_each_is_kept() -> None:
    documented = {row[0]: row[2] for row in table_rows("backup.md") if row[0] in _names()}
    assert documented == _names()


def _names() -> dict[str, str]:
    """Return what stands in the first and the last column for each rule."""
    found = {}
    for rule in RULES:
        if isinstance(rule, KeptForever):
            found[f"`{rule.table.name}`"] = f"for ever: {rule.why}"
        else:
            name = f"{rule.table.name}.{rule.emptied}" if rule.emptied else rule.table.name
            days = rule.kept_for.days
            found[f"`{name}`"] = f"{days} day{'s' * (days != 1)}"
    return found
