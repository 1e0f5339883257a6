"""Reads files that people write as strict YAML, and reports every mistake with line and column.

PyYAML only composes nodes: it constructs no objects and guesses no types. Anchors, aliases, merge
keys, tags and repeated keys are refused, because each of them can make a file mean something other
than what it seems to mean.
"""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

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
from schemas.text import closest

Path = tuple[str | int, ...]

MAX_FILE_BYTES = 256 * 1024  # bytes
_UNKNOWN_KEY = "Unknown field."  # marshmallow's message
_ABOUT_ALL = "_schema"  # marshmallow's key for errors about a whole mapping
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
        event = self.peek_event()  # type: ignore[no-untyped-call]  # its stubs lack a type
        mark: Mark = event.start_mark
        if isinstance(event, AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]  # its stubs lack a type
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


def file_text(content: bytes, file_name: str) -> str:
    """Return the text of a file, with or without a byte order mark.

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


def located(
    errors: Any,  # noqa: ANN401 - marshmallow's nested errors
    path: Path,
    keys_at: Callable[[Path], Collection[str]],
    tree: Tree,
) -> Iterator[Mistake]:
    """Turn marshmallow's nested errors into mistakes with places; skip values refused before.

    `keys_at` returns the keys that are allowed beside the one at a path.
    """
    if path in tree.refused:
        return
    if isinstance(errors, dict):
        for key, inner in errors.items():
            about_all = key == _ABOUT_ALL and (*path, key) not in tree.keys
            yield from located(inner, path if about_all else (*path, key), keys_at, tree)
        return
    for message in errors:
        if message == _UNKNOWN_KEY:
            unknown = f"there is no such key{closest(str(path[-1]), keys_at(path))}"
            yield mistake_at(tree.keys[path], path, unknown)
        else:
            yield mistake_at(place_of(path, tree), path, message)


def place_of(path: Path, tree: Tree) -> Any:  # noqa: ANN401 - PyYAML's mark
    """Return the place of a value or, if it is missing, of the mapping that should have it."""
    while path and path not in tree.places:
        path = path[:-1]
    return tree.places[path]
