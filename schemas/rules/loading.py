"""Loads the text of a rules file, and reports all mistakes at once with line and column.

PyYAML only composes nodes: it constructs no objects and guesses no types. Anchors, aliases, merge
keys, tags and repeated keys are refused, because each of them can make a file mean something other
than what it seems to mean.
"""

import hashlib
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from marshmallow import Schema, ValidationError
from yaml import (
    AliasEvent,
    MappingNode,
    Mark,
    MarkedYAMLError,
    Node,
    SafeLoader,
    ScalarNode,
    SequenceNode,
)
from yaml.reader import ReaderError

from schemas.errors import ConfigurationError
from schemas.rules.form import (
    CompletionSchema,
    CourseRulesSchema,
    FileSchema,
    Kinds,
    RuleSchema,
    TimingSchema,
    WhereSchema,
)
from schemas.rules.model import REMINDER_WINDOW, CourseRules, Rule, Rules, Stream, Timing
from schemas.text import closest, folded

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}")


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in the file. Line and column count from 1; mistakes sort in file order."""

    line: int
    column: int
    path: str
    message: str

    def as_line(self, file_name: str) -> str:
        """Return the mistake as one line, in the form that editors can jump to."""
        return f"{file_name}:{self.line}:{self.column}: {self.path}: {self.message}"


def mistake_at(mark: Mark | None, path: Path, message: str) -> Mistake:
    """Return a mistake at PyYAML's mark, or at the beginning of the file without one."""
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return Mistake(line + 1, column + 1, path_text(path), message)


def path_text(path: Path) -> str:
    """Return a path as text, such as `rules[0].gather`. Quotes unusual keys."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _PLAIN_KEY.fullmatch(step) else ascii(step[:60])
            text += f".{key}" if text else key
    return text or "file"


_DEEPEST = 10  # levels; the format needs 5, and more could exhaust the parser's recursion
_ALIAS = "alias"  # the tag that replaces an alias; every real tag has a colon


@dataclass(slots=True)
class Tree:
    """The parsed file. `content` is None if nothing could be read.

    `places` has the mark of each value and `keys` that of its key, by path. `paths` has the path of
    the key or value that begins at each character. `refused` are the paths of values that already
    have a mistake, so that no second one is reported.
    """

    content: Any = None
    places: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    paths: dict[int, Path] = field(default_factory=dict)
    refused: set[Path] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)


class _Loader(SafeLoader):
    """PyYAML's composer. Records each feature that a rules file must not use, and continues."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.refusals: list[tuple[Mark, str]] = []
        self.depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Compose as PyYAML does, with an empty text in place of each alias."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Mark = event.start_mark
        if isinstance(event, AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self.refusals.append((mark, "expected a value instead of an alias (*)"))
            return ScalarNode(_ALIAS, "", mark, mark)
        if event.anchor is not None:
            self.refusals.append((mark, "anchors (&) are not allowed"))
            event.anchor = None
        if event.tag is not None:
            self.refusals.append((mark, "tags (!) are not allowed"))
        if self.depth >= _DEEPEST:
            raise MarkedYAMLError(problem="it is nested too deeply", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_tree(text: str) -> Tree:
    """Parse the text; return its content with every mistake of syntax. Raises nothing."""
    tree = Tree()
    node, refusals = _composed(text, tree)
    if node is not None:
        tree.content = _content_of(node, (), tree)
    elif not tree.mistakes:
        tree.mistakes.append(mistake_at(None, (), "expected rules; the file is empty"))
    tree.mistakes += [mistake_at(mark, tree.paths.get(mark.index, ()), m) for mark, m in refusals]
    return tree


def _composed(text: str, tree: Tree) -> tuple[Node | None, list[tuple[Mark, str]]]:
    loader: _Loader | None = None
    node: Node | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except MarkedYAMLError as error:
        message = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        tree.mistakes.append(mistake_at(mark, (), f"expected YAML; {message}"))
    except ReaderError as error:
        before = text[: error.position].split("\n")
        message = "expected printable characters"
        tree.mistakes.append(Mistake(len(before), len(before[-1]) + 1, "file", message))
    except (ValueError, OverflowError):
        # PyYAML passes on Python's errors, as for an escape beyond Unicode or a huge number.
        mark = loader.get_mark() if loader else None
        tree.mistakes.append(mistake_at(mark, (), "expected YAML; a number is out of range"))
    return node, loader.refusals if loader else []


def _content_of(node: Node, path: Path, tree: Tree) -> Any:  # noqa: ANN401 - nested lists, dicts and texts
    """Return the value of a node, and record the place of each part."""
    tree.places[path] = node.start_mark
    tree.paths[node.start_mark.index] = path
    if isinstance(node, MappingNode):
        return _mapping(node, path, tree)
    if isinstance(node, SequenceNode):
        return [_content_of(item, (*path, index), tree) for index, item in enumerate(node.value)]
    if node.tag == _ALIAS:
        tree.refused.add(path)
    return node.value


def _mapping(node: MappingNode, path: Path, tree: Tree) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        tree.paths[key_node.start_mark.index] = path
        message = _key_mistake(key_node)
        if message is None and key in content:
            again = mistake_at(key_node.start_mark, (*path, key), "this key is repeated")
            tree.mistakes.append(again)
        elif message is None:
            tree.keys[*path, key] = key_node.start_mark
            content[key] = _content_of(value_node, (*path, key), tree)
        elif key_node.tag != _ALIAS:
            tree.mistakes.append(mistake_at(key_node.start_mark, path, message))
    return content


def _key_mistake(node: Node) -> str | None:
    if not isinstance(node, ScalarNode) or node.tag == _ALIAS:
        return "expected a plain word as key"
    if node.value == "<<":
        return "merge keys (<<) are not allowed"
    return None


MAX_FILE_BYTES = 256 * 1024  # bytes
_DIGEST_LENGTH = 12  # enough to distinguish one's own files
_UNKNOWN_KEY = "Unknown field."  # marshmallow's message
_ABOUT_ALL = "_schema"  # marshmallow's key for errors about a whole mapping
_FILE_FORM = FileSchema()
_TIMING_FORM, _COMPLETION_FORM, _WHERE_FORM = TimingSchema(), CompletionSchema(), WhereSchema()
_COURSE_FORM = CourseRulesSchema()
_TIMING_KEYS = frozenset(field.name for field in fields(Timing))


def rules_text(content: bytes, file_name: str) -> str:
    """Return the text of a rules file, with or without a byte order mark.

    Raises:
        ConfigurationError: it is not UTF-8; names the place of the first invalid byte.
    """
    content = content.removeprefix(BOM_UTF8)
    if content[:2] in {BOM_UTF16_LE, BOM_UTF16_BE} or b"\0" in content[:4]:
        wide = mistake_at(None, (), "expected UTF-8 text; save this UTF-16 file as UTF-8")
        raise ConfigurationError([wide.as_line(file_name)])
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        lines = (content[: error.start] + b"_").splitlines()
        message = (
            f"expected UTF-8 text, and found the byte 0x{content[error.start]:02x}; "
            "save the file as UTF-8 (it may be Latin-1 or Windows-1252)"
        )
        place = Mistake(len(lines), len(lines[-1].decode()), "file", message)
        raise ConfigurationError([place.as_line(file_name)]) from None


def load_rules(
    text: str,
    file_name: str,
    *,
    actions: Kinds,
) -> Rules:
    """Load rules from the text of a file.

    `file_name` is only used in error messages. `actions` are the kinds that rules may name, each
    with its templates and the events that each template fits.

    Raises:
        ConfigurationError: with every mistake, in the order of the file, each as
            `file:line:column: path: message`.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > MAX_FILE_BYTES:
        too_large = mistake_at(None, (), f"expected at most {MAX_FILE_BYTES // 1024} KiB")
        raise ConfigurationError([too_large.as_line(file_name)])
    tree = read_tree(text)
    whole, rules = _loaded_keys(tree, RuleSchema(actions))
    if tree.mistakes:
        raise ConfigurationError([one.as_line(file_name) for one in sorted(set(tree.mistakes))])
    has_window = ("timing", "send") in tree.places
    made = Rules(
        rules=tuple(_rule(one, whole["timing"], has_window=has_window) for one in rules),
        counts=frozenset(whole["completion"]["counts"]),
        courses=tuple(_course_rules(one) for one in whole["courses"]),
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
        tree.mistakes += _located(error.messages_dict, (), _FILE_FORM, tree)
    for path, rule in _rules_in(tree):
        try:
            rules.append(form.load(rule))
        except ValidationError as error:
            tree.mistakes += _located(error.messages_dict, path, form, tree)
    tree.mistakes += _repeated_names(tree)
    tree.mistakes += _wrong_courses(tree)
    return whole, rules


def _rule(keys: Mapping[str, Any], timing: Timing, *, has_window: bool) -> Rule:
    """Return the rule; its own timing overrides the file's, which may say `send: none`."""
    own = {key: value for key, value in keys.items() if key in _TIMING_KEYS}
    rest = {key: value for key, value in keys.items() if key not in _TIMING_KEYS}
    own_timing = frozenset(own)
    if rest["stream"] is Stream.REMINDER and not has_window:
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
                yield mistake_at(_place(at, tree), at, f"there is no such rule{closest_name}")
            elif key == "course" and folded(name) in seen:
                yield mistake_at(_place(at, tree), at, "this course is named above already")
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
        cases: list[tuple[Path, str, Rule]] = [(("rules", index), "", rule)]
        for number, entry in enumerate(made.courses):
            there = made.for_course(rule, 0, entry.course[0])
            cases += [(("courses", number), f" for {rule.name}", there)] * there.enabled
        for at, words, _ in [one for one in cases if not one[-1].timing.leaves_time()][:1]:
            own = (*at, "send"), (*at, "quiet_hours"), ("timing", "send")
            path = next((one for one in own if one in tree.places), at)
            message = (
                f"this leaves no time to send in{words}; the quiet hours cover the whole window"
            )
            yield mistake_at(tree.places[path], path, message)


def _rules_in(tree: Tree) -> Iterator[tuple[Path, Any]]:
    listed = tree.content.get("rules") if isinstance(tree.content, dict) else None
    for index, rule in enumerate(listed if isinstance(listed, list) else ()):
        yield ("rules", index), rule


def _repeated_names(tree: Tree) -> Iterator[Mistake]:
    """Find rules with the same name. The name is part of the key that makes an action unique."""
    seen: set[str] = set()
    for path, rule in _rules_in(tree):
        name = rule.get("name") if isinstance(rule, dict) else None
        at: Path = (*path, "name")
        if not isinstance(name, str) or at in tree.refused:
            continue
        if name in seen:
            yield mistake_at(tree.places[at], at, "another rule has this name; give each its own")
        seen.add(name)


def _located(errors: Any, path: Path, form: Schema, tree: Tree) -> Iterator[Mistake]:  # noqa: ANN401 - marshmallow's nested errors
    """Turn marshmallow's nested errors into mistakes with places; skips values refused before."""
    if path in tree.refused:
        return
    if isinstance(errors, dict):
        for key, inner in errors.items():
            about_all = key == _ABOUT_ALL and (*path, key) not in tree.keys
            yield from _located(inner, path if about_all else (*path, key), form, tree)
        return
    for message in errors:
        if message == _UNKNOWN_KEY:
            unknown = f"there is no such key{closest(str(path[-1]), _keys_at(path, form))}"
            yield mistake_at(tree.keys[path], path, unknown)
        else:
            yield mistake_at(_place(path, tree), path, message)


def _place(path: Path, tree: Tree) -> Any:  # noqa: ANN401 - PyYAML's mark
    """Return the place of a value or, if it is missing, of the mapping that should have it."""
    while path and path not in tree.places:
        path = path[:-1]
    return tree.places[path]


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
    return form.fields
