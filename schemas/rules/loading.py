"""From the text of a rules file to rules, with every mistake at once and the place of each."""

import hashlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from marshmallow import Schema, ValidationError

from schemas.errors import ConfigurationError
from schemas.events import EventKind
from schemas.rules.form import CompletionSchema, FileSchema, RuleSchema, TimingSchema, WhereSchema
from schemas.rules.mistakes import Mistake, Path, mistake_at
from schemas.rules.shape import Rule, Rules, Timing
from schemas.rules.tree import Tree, read_tree
from schemas.text import closest

LARGEST_FILE = 256 * 1024  # bytes
_DIGEST_LENGTH = 12  # enough to tell one's own files apart
_UNKNOWN_KEY = "Unknown field."  # marshmallow's words
_ABOUT_ALL = "_schema"  # where marshmallow files what is wrong with a mapping as such
_FILE_FORM = FileSchema()
_TIMING_FORM, _COMPLETION_FORM, _WHERE_FORM = TimingSchema(), CompletionSchema(), WhereSchema()
_TIMING_KEYS = frozenset(field.name for field in fields(Timing))


def rules_text(content: bytes, file_name: str) -> str:
    """Return the text of a rules file, with or without a byte order mark.

    Raises:
        ConfigurationError: it is not UTF-8, with the place of the first byte that is not.
    """
    content = content.removeprefix(BOM_UTF8)
    if content[:2] in {BOM_UTF16_LE, BOM_UTF16_BE} or b"\0" in content[:4]:
        wide = mistake_at(None, (), "expected UTF-8 text; save this UTF-16 file as UTF-8")
        raise ConfigurationError([wide.told(file_name)])
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        lines = (content[: error.start] + b"_").splitlines()
        message = (
            f"expected UTF-8 text, and found the byte 0x{content[error.start]:02x}; "
            "save the file as UTF-8 (it may be Latin-1 or Windows-1252)"
        )
        place = Mistake(len(lines), len(lines[-1].decode()), "file", message)
        raise ConfigurationError([place.told(file_name)]) from None


def load_rules(
    text: str,
    file_name: str,
    *,
    templates: Mapping[str, Collection[EventKind]],
    actions: frozenset[str],
) -> Rules:
    """Return the rules that this text states.

    `file_name` is only used in mistakes. `templates` and `actions` are the names rules may use;
    each template comes with the events that it can be about.

    Raises:
        ConfigurationError: with every mistake, in the order of the file, each as
            `file:line:column: path: message`.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > LARGEST_FILE:
        too_large = mistake_at(None, (), f"expected at most {LARGEST_FILE // 1024} KiB")
        raise ConfigurationError([too_large.told(file_name)])
    tree = read_tree(text)
    whole, stated = _stated(tree, RuleSchema(templates, actions))
    if tree.mistakes:
        raise ConfigurationError([one.told(file_name) for one in sorted(set(tree.mistakes))])
    return Rules(
        rules=tuple(_rule(one, whole["timing"]) for one in stated),
        counts=frozenset(whole["completion"]["counts"]),
        digest=hashlib.sha256(encoded).hexdigest()[:_DIGEST_LENGTH],
    )


def _stated(tree: Tree, form: RuleSchema) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Load the file's keys, and each of its rules. Adds to the tree's mistakes, raises none."""
    whole: dict[str, Any] = {}
    stated: list[dict[str, Any]] = []
    if tree.content is None:
        return whole, stated
    try:
        whole = _FILE_FORM.load(tree.content)
    except ValidationError as error:
        tree.mistakes += _located(error.messages_dict, (), _FILE_FORM, tree)
    for path, rule in _rules_in(tree):
        try:
            stated.append(form.load(rule))
        except ValidationError as error:
            tree.mistakes += _located(error.messages_dict, path, form, tree)
    tree.mistakes += _repeated_names(tree)
    return whole, stated


def _rule(stated: Mapping[str, Any], timing: Timing) -> Rule:
    """Make the rule; what it says about timing wins over what the file says."""
    own = {key: value for key, value in stated.items() if key in _TIMING_KEYS}
    rest = {key: value for key, value in stated.items() if key not in _TIMING_KEYS}
    return Rule(timing=replace(timing, **own), **rest)


def _rules_in(tree: Tree) -> Iterator[tuple[Path, Any]]:
    listed = tree.content.get("rules") if isinstance(tree.content, dict) else None
    for index, rule in enumerate(listed if isinstance(listed, list) else ()):
        yield ("rules", index), rule


def _repeated_names(tree: Tree) -> Iterator[Mistake]:
    """Find rules that share a name: a name is part of what makes an action happen once only."""
    seen: set[str] = set()
    for path, rule in _rules_in(tree):
        name = rule.get("name") if isinstance(rule, dict) else None
        at: Path = (*path, "name")
        if not isinstance(name, str) or at in tree.refused:
            continue
        if name in seen:
            yield mistake_at(tree.places[at], at, "expected a name that no other rule has")
        seen.add(name)


def _located(errors: Any, path: Path, form: Schema, tree: Tree) -> Iterator[Mistake]:  # noqa: ANN401 - marshmallow's nested errors
    """Turn marshmallow's nested errors into mistakes with places, less what was refused before."""
    if path in tree.refused:
        return
    if isinstance(errors, dict):
        for key, inner in errors.items():
            about_all = key == _ABOUT_ALL and (*path, key) not in tree.keys
            yield from _located(inner, path if about_all else (*path, key), form, tree)
        return
    for message in errors:
        if message == _UNKNOWN_KEY:
            told = f"there is no such key here{closest(str(path[-1]), _keys_at(path, form))}"
            yield mistake_at(tree.keys[path], path, told)
        else:
            yield mistake_at(_place(path, tree), path, message)


def _place(path: Path, tree: Tree) -> Any:  # noqa: ANN401 - PyYAML's mark
    """Return the place of a value or, if it is missing, of what should have held it."""
    while path and path not in tree.places:
        path = path[:-1]
    return tree.places[path]


def _keys_at(path: Path, form: Schema) -> Mapping[str, Any]:
    """Return the keys that may stand where this path ends."""
    match path[:-1]:
        case ("timing",):
            return _TIMING_FORM.fields
        case ("completion",):
            return _COMPLETION_FORM.fields
        case (*_, "where"):
            return _WHERE_FORM.fields
    return form.fields
