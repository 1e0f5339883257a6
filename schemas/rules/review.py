"""Finds what is allowed in a rules file and is probably not meant."""

from collections.abc import Collection, Iterator
from itertools import combinations

from schemas.rules.model import Rule, Rules, Where
from schemas.text import folded

_NAMES = ("course", "group", "team", "location", "host")
_WORDS = ("coworker_type", "visibility", "completion_type")


def doubtful_rules(rules: Rules) -> Iterator[str]:
    """Yield a sentence for each rule that never applies, and for each two that would both write."""
    applying = []
    for rule in (rule for rule in rules.rules if rule.enabled):
        reasons = list(_reasons_never(rule, rules))
        yield from (f"rule {rule.name}: it never applies, because {reason}" for reason in reasons)
        if not reasons:
            applying.append(rule)
    for one, other in combinations(applying, 2):
        apart = _is_off(one, other.where, rules) or _is_off(other, one.where, rules)
        if not apart and _may_both_write(one, other):
            who = "a member" if None in one.audiences else "the same recipient"
            yield (
                f"rules {one.name} and {other.name}: both act on {one.event}, so {who} may get "
                "two emails about it; `where` can tell them apart"
            )


def doubtful_brakes(
    rules: Rules, forecast: Collection[str] | None, digest: str | None, next_step: str
) -> Iterator[str]:
    """Yield a sentence for each brake that holds nothing, and if the forecast is of other rules.

    `forecast` are the names of the rules that the accepted forecast is about, None if there is no
    such forecast. `digest` is that of the rules it was made with, `next_step` the command that
    accepts a forecast of these rules.
    """
    braked = rules.braked()
    for name in braked:
        if forecast is None or name not in forecast:
            yield (
                f"rule {name}: its brake holds nothing, because no forecast of this rule was "
                f"accepted; `{next_step}` makes one"
            )
    if digest not in {None, rules.digest} and any(name in (forecast or ()) for name in braked):
        yield (
            f"brake: the accepted forecast was made with other rules ({digest}) and still applies; "
            f"`{next_step}` makes a new one"
        )


def _reasons_never(rule: Rule, rules: Rules) -> Iterator[str]:
    for key in _contradictions(rule.where):
        yield f"everything in where.{key} is also in where.not.{key}"
    if _is_off(rule, rule.where, rules):
        yield f"it is off for the course {rule.where.course[0]}"


def _contradictions(where: Where) -> Iterator[str]:
    excluded = where.excluded
    for key in (*_NAMES, *_WORDS) if excluded else ():
        wanted, refused = _values(where, key), _values(excluded, key)
        if wanted and wanted <= refused:
            yield key


def _values(where: Where | None, key: str) -> set[object]:
    values = getattr(where, key)
    return {folded(one) if key in _NAMES else one for one in values}


def _is_off(rule: Rule, where: Where, rules: Rules) -> bool:
    """Return whether `where` is for some courses only, and `rule` is off for all of these."""
    off = {folded(c) for one in rules.courses if rule.name in one.off for c in one.course}
    return bool(where.course) and all(folded(one) in off for one in where.course)


def _may_both_write(one: Rule, other: Rule) -> bool:
    if one.event is not other.event or one.action != other.action:
        return False
    if not set(one.audiences) & set(other.audiences):
        return False
    if one.after_s and other.after_s and not set(one.after_s) & set(other.after_s):
        return False
    return not any(_are_apart(one.where, other.where, key) for key in (*_NAMES, *_WORDS)) and not (
        _are_ranges_apart(one.where, other.where)
    )


def _are_apart(one: Where, other: Where, key: str) -> bool:
    """Return whether no member can match both in this key. A member may be in several teams."""
    mine, theirs = _values(one, key), _values(other, key)
    if key != "team" and mine and theirs and not mine & theirs:
        return True
    return any(
        wanted and against.excluded is not None and wanted <= _values(against.excluded, key)
        for wanted, against in ((mine, other), (theirs, one))
    )


def _are_ranges_apart(one: Where, other: Where) -> bool:
    if one.completion is None or other.completion is None:
        return False
    return one.completion[1] < other.completion[0] or other.completion[1] < one.completion[0]
