"""Loads the text of a rules file, and reports all mistakes at once with line and column."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any

from marshmallow import Schema, ValidationError

from schemas.actions import is_to_person
from schemas.errors import ConfigurationError
from schemas.rules.form import (
    CompletionSchema,
    CourseRulesSchema,
    DigestSchema,
    FileSchema,
    Kinds,
    RuleSchema,
    TimingSchema,
    WhereSchema,
)
from schemas.rules.model import REMINDER_WINDOW, CourseRules, Rule, Rules, Stream, Timing
from schemas.strict_yaml import (
    MAX_FILE_BYTES,
    Mistake,
    Path,
    Tree,
    located,
    mistake_at,
    place_of,
    read_tree,
)
from schemas.text import closest, folded

NO_TIME = "this leaves no time to send in{words}; the quiet hours cover the whole window"
_DIGEST_LENGTH = 12  # enough to distinguish one's own files
_FILE_FORM = FileSchema()
_TIMING_FORM, _COMPLETION_FORM, _WHERE_FORM = TimingSchema(), CompletionSchema(), WhereSchema()
_COURSE_FORM, _DIGEST_FORM = CourseRulesSchema(), DigestSchema()
_TIMING_KEYS = frozenset(field.name for field in fields(Timing))
# Programs are posted to at any time and without limits, unless the rule itself says otherwise.
_FOR_PROGRAMS = {
    **dict.fromkeys(("quiet_hours", "cap_per_day", "cap_per_week", "send"), None),
    "holidays": (),
}


def load_rules(
    text: str,
    file_name: str,
    *,
    actions: Kinds,
    no_certificates: str | None = None,
    endpoints: Collection[str] | None = None,
) -> Rules:
    """Load rules from the text of a file.

    `file_name` is only used in error messages. `actions` are the kinds that rules may name.
    `no_certificates` says why none may send certificates. `endpoints` are the names that rules may
    post to; None: any.

    Raises:
        ConfigurationError: with every mistake, in the order of the file, each as
            `file:line:column: path: message`.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_FILE_BYTES:
        too_large = mistake_at(None, (), f"expected at most {MAX_FILE_BYTES // 1024} KiB")
        raise ConfigurationError([too_large.as_line(file_name)])
    tree = read_tree(text)
    whole, rules = _loaded_keys(tree, RuleSchema(actions, no_certificates, endpoints))
    if tree.mistakes:
        raise ConfigurationError([one.as_line(file_name) for one in sorted(set(tree.mistakes))])
    has_window = ("timing", "send") in tree.places
    made = Rules(
        rules=tuple(_rule(one, whole["timing"], has_window=has_window) for one in rules),
        counts=frozenset(whole["completion"]["counts"]),
        courses=tuple(_course_rules(one) for one in whole["courses"]),
        digests=tuple(whole["digests"]),
        digest=hashlib.sha256(encoded).hexdigest()[:_DIGEST_LENGTH],
    )
    if mistakes := sorted(set(_without_time(tree, made))):
        raise ConfigurationError([one.as_line(file_name) for one in mistakes])
    return made


def _loaded_keys(tree: Tree, form: RuleSchema) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Load the file's keys and each of its rules. Adds mistakes to the tree instead of raising."""
    whole: dict[str, Any] = {}
    rules: list[dict[str, Any]] = []
    if tree.content is None:
        return whole, rules
    try:
        whole = _FILE_FORM.load(tree.content)
    except ValidationError as error:
        tree.mistakes += located(error.messages_dict, (), partial(_keys_at, form=_FILE_FORM), tree)
    for path, rule in _rules_in(tree):
        try:
            rules.append(form.load(rule))
        except ValidationError as error:
            tree.mistakes += located(error.messages_dict, path, partial(_keys_at, form=form), tree)
    tree.mistakes += _repeated_names(_rules_in(tree), "rule", tree)
    tree.mistakes += _repeated_names(_digests_in(tree), "digest", tree)
    tree.mistakes += _names_of_rules(tree)
    tree.mistakes += _wrong_courses(tree)
    return whole, rules


def _rule(keys: Mapping[str, Any], timing: Timing, *, has_window: bool) -> Rule:
    """Return the rule; its own timing overrides the file's, which may say `send: none`."""
    own = {key: value for key, value in keys.items() if key in _TIMING_KEYS}
    rest = {key: value for key, value in keys.items() if key not in _TIMING_KEYS}
    is_to_people = all(map(is_to_person, rest["to"]))
    if not is_to_people:
        own = _FOR_PROGRAMS | own
    own_timing = frozenset(own)
    if is_to_people and rest["stream"] is Stream.REMINDER and not has_window:
        own.setdefault("send", REMINDER_WINDOW)
    return Rule(timing=replace(timing, **own), own_timing=own_timing, **rest)


def _course_rules(keys: Mapping[str, Any]) -> CourseRules:
    timing = {key: value for key, value in keys.items() if key in _TIMING_KEYS}
    return CourseRules(keys["course"], keys["off"], timing)


def _wrong_courses(tree: Tree) -> Iterator[Mistake]:
    """Find courses that are named twice, and rules that are switched off and do not exist."""
    listed = tree.content.get("courses") if isinstance(tree.content, dict) else None
    known = {rule.get("name") for _, rule in _rules_in(tree) if isinstance(rule, dict)}
    seen: set[str] = set()
    for index, keys in enumerate(listed if isinstance(listed, list) else ()):
        for key, at, name in _names_of(keys, index):
            if key == "off" and name not in known:
                closest_name = closest(name, [one for one in known if isinstance(one, str)])
                yield mistake_at(place_of(at, tree), at, f"there is no such rule{closest_name}")
            elif key == "course" and folded(name) in seen:
                yield mistake_at(place_of(at, tree), at, "this course is named above already")
            elif key == "course":
                seen.add(folded(name))


def _names_of(keys: Any, index: int) -> Iterator[tuple[str, Path, str]]:  # noqa: ANN401 - what the file has
    """Yield the courses and the rules that one entry of `courses` names, with their places."""
    for key in ("course", "off") if isinstance(keys, dict) else ():
        at: Path = ("courses", index, key)
        value = keys.get(key)
        if isinstance(value, str):
            yield key, at, value
        for place, name in enumerate(value if isinstance(value, list) else ()):
            if isinstance(name, str):
                yield key, (*at, place), name


def _without_time(tree: Tree, made: Rules) -> Iterator[Mistake]:
    """Find rules whose emails could never be sent: the quiet hours cover the whole window."""
    for index, rule in enumerate(made.rules):
        cases: list[tuple[Path, str, Timing]] = [(("rules", index), "", rule.timing)]
        for number, timing in made.timing_in_courses(rule):
            cases.append((("courses", number), f" for {rule.name}", timing))
        for at, words, _ in [one for one in cases if not one[-1].leaves_time()][:1]:
            own = (*at, "send"), (*at, "quiet_hours"), ("timing", "send")
            path = next((one for one in own if one in tree.places), at)
            yield mistake_at(tree.places[path], path, NO_TIME.format(words=words))


def _rules_in(tree: Tree) -> Iterator[tuple[Path, Any]]:
    listed = tree.content.get("rules") if isinstance(tree.content, dict) else None
    for index, rule in enumerate(listed if isinstance(listed, list) else ()):
        yield ("rules", index), rule


def _digests_in(tree: Tree) -> Iterator[tuple[Path, Any]]:
    listed = tree.content.get("digests") if isinstance(tree.content, dict) else None
    for index, digest in enumerate(listed if isinstance(listed, list) else ()):
        yield ("digests", index), digest


def _repeated_names(named: Iterable[tuple[Path, Any]], word: str, tree: Tree) -> Iterator[Mistake]:
    """Find entries with the same name, which is part of the key of what they send."""
    seen: set[str] = set()
    for path, entry in named:
        name = entry.get("name") if isinstance(entry, dict) else None
        at: Path = (*path, "name")
        if not isinstance(name, str) or at in tree.refused:
            continue
        if name in seen:
            message = f"another {word} has this name; give each its own"
            yield mistake_at(tree.places[at], at, message)
        seen.add(name)


def _names_of_rules(tree: Tree) -> Iterator[Mistake]:
    """Find digests that are called as a rule, so that a pause by name would be ambiguous."""
    rules = [entry.get("name") for _, entry in _rules_in(tree) if isinstance(entry, dict)]
    for path, entry in _digests_in(tree):
        at: Path = (*path, "name")
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and name in rules and at not in tree.refused:
            message = "a rule has this name; give the digest another"
            yield mistake_at(tree.places[at], at, message)


def _keys_at(path: Path, form: Schema) -> Mapping[str, Any]:
    """Return the keys that are allowed at this path."""
    match path[:-1]:
        case ("timing",):
            return _TIMING_FORM.fields
        case ("completion",):
            return _COMPLETION_FORM.fields
        case (*_, "where") | (*_, "where", "not"):
            return _WHERE_FORM.fields
        case ("courses", int()):
            return _COURSE_FORM.fields
        case ("digests", int()):
            return _DIGEST_FORM.fields
    return form.fields
