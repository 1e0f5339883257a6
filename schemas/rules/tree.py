"""YAML text to mappings, lists and texts, with the place of each. What they mean is not known here.

PyYAML reads the syntax and stops at nodes: it constructs nothing, and guesses no types. Anchors,
aliases, merge keys, tags and repeated keys are refused, because each lets a file say something
else than it seems to say.
"""

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

from schemas.rules.mistakes import Mistake, Path, mistake_at

_DEEPEST = 10  # levels; the form needs 5, and the parser's own recursion must not run out
_ALIAS = "alias"  # the tag of what stands in an alias's place; no real tag lacks a colon


@dataclass(slots=True)
class Tree:
    """What the file says. `content` is None if nothing could be read.

    `places` has the mark of each value and `keys` that of its key, by path; `paths` has the path at
    each character where a key or value begins; `refused` are paths whose value was refused already,
    so that nothing more needs to be said about it.
    """

    content: Any = None
    places: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    paths: dict[int, Path] = field(default_factory=dict)
    refused: set[Path] = field(default_factory=set)
    mistakes: list[Mistake] = field(default_factory=list)


class _Loader(SafeLoader):
    """PyYAML's composer, which refuses what a rules file may not use, and goes on."""

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
            self.refusals.append((mark, "expected the thing itself, no alias (*)"))
            return ScalarNode(_ALIAS, "", mark, mark)
        if event.anchor is not None:
            self.refusals.append((mark, "expected no anchor (&)"))
            event.anchor = None
        if event.tag is not None:
            self.refusals.append((mark, "expected no tag (!)"))
        if self.depth >= _DEEPEST:
            raise MarkedYAMLError(problem="it is nested too deeply", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_tree(text: str) -> Tree:
    """Return everything the text says, and every mistake in how it says it. Raises nothing."""
    tree = Tree()
    node, refusals = _composed(text, tree)
    if node is not None:
        tree.content = _grown(node, (), tree)
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
        told = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        tree.mistakes.append(mistake_at(mark, (), f"expected YAML; {told}"))
    except ReaderError as error:
        before = text[: error.position].split("\n")
        message = "expected printable characters"
        tree.mistakes.append(Mistake(len(before), len(before[-1]) + 1, "file", message))
    except (ValueError, OverflowError):
        # PyYAML lets Python's own errors through: an escape beyond Unicode, a huge version number.
        mark = loader.get_mark() if loader else None
        tree.mistakes.append(mistake_at(mark, (), "expected YAML; this number is impossible"))
    return node, loader.refusals if loader else []


def _grown(node: Node, path: Path, tree: Tree) -> Any:  # noqa: ANN401 - nested lists, dicts and texts
    """Turn a node into what it says, and remember where it said it."""
    tree.places[path] = node.start_mark
    tree.paths[node.start_mark.index] = path
    if isinstance(node, MappingNode):
        return _mapping(node, path, tree)
    if isinstance(node, SequenceNode):
        return [_grown(item, (*path, index), tree) for index, item in enumerate(node.value)]
    if node.tag == _ALIAS:
        tree.refused.add(path)
    return node.value


def _mapping(node: MappingNode, path: Path, tree: Tree) -> dict[str, Any]:
    grown: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value
        tree.paths[key_node.start_mark.index] = path
        message = _key_mistake(key_node)
        if message is None and key in grown:
            again = mistake_at(key_node.start_mark, (*path, key), "expected once only")
            tree.mistakes.append(again)
        elif message is None:
            tree.keys[*path, key] = key_node.start_mark
            grown[key] = _grown(value_node, (*path, key), tree)
        elif key_node.tag != _ALIAS:
            tree.mistakes.append(mistake_at(key_node.start_mark, path, message))
    return grown


def _key_mistake(node: Node) -> str | None:
    if not isinstance(node, ScalarNode) or node.tag == _ALIAS:
        return "expected a plain word as key"
    if node.value == "<<":
        return "expected no merge key (<<)"
    return None
