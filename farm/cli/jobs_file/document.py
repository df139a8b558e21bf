"""Text of a jobs.yaml into YAML nodes, which know their line and column.

SafeLoader's YAML without what makes it dangerous or surprising: no aliases, no tags, no
duplicate keys, bounded in size and depth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import yaml

from farm.cli.jobs_file.mistakes import Findings, JobsFileInvalid, Mistake, Place

LIMIT_BYTES = 2**20
LIMIT_DEPTH = 32
LIMIT_KEYS = 1000  # of one mapping; the largest that means anything has some twenty

_Loader: type[yaml.SafeLoader | yaml.CSafeLoader]
try:
    _Loader = yaml.CSafeLoader  # a file of 1 MiB in a second instead of twenty
except AttributeError:
    _Loader = yaml.SafeLoader


class Mark(Protocol):
    """A place as both of PyYAML's parsers give it, counted from 0."""

    line: int
    column: int


class FileUnreadable(Exception):
    """The file cannot be read at all; the message says why."""


def read_text(path: Path) -> str:
    """The file's text. Raises FileUnreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise FileUnreadable(f"{path}: no such file; `farm init {path}` writes one") from None
    except OSError as error:
        raise FileUnreadable(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > LIMIT_BYTES:
        raise FileUnreadable(f"{path} is larger than 1 MiB, the most that is allowed")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise FileUnreadable(f"{path} is not UTF-8 text: byte {error.start} is wrong") from error


def compose(path: str, text: str) -> yaml.MappingNode:
    """The root of the document. Raises JobsFileInvalid."""

    def refuse(mark: Mark | None, message: str, hint: str = "") -> JobsFileInvalid:
        place = Place(mark.line, mark.column, 1) if mark else Place(0, 0, 1)
        return JobsFileInvalid(path, text, [Mistake(place, message, hint)])

    try:
        documents = 0
        open_nodes: list[int] = []  # of each mapping and list around here, how many nodes it has
        in_mapping: list[bool] = []  # and which of them are mappings
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                raise refuse(event.start_mark, "an alias (*) is not allowed", _WRITE_OUT)
            if isinstance(event, yaml.NodeEvent) and event.anchor:
                raise refuse(event.start_mark, "an anchor (&) is not allowed", _WRITE_OUT)
            if tag := getattr(event, "tag", None):
                raise refuse(event.start_mark, f"a tag ({tag}) is not allowed")
            if isinstance(event, yaml.NodeEvent) and open_nodes:
                open_nodes[-1] += 1
                if in_mapping[-1] and open_nodes[-1] > 2 * LIMIT_KEYS:
                    raise refuse(event.start_mark, f"a mapping of more than {LIMIT_KEYS} keys")
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append(0)
                in_mapping.append(isinstance(event, yaml.MappingStartEvent))
            elif isinstance(event, yaml.CollectionEndEvent):
                open_nodes.pop()
                in_mapping.pop()
            if len(open_nodes) > LIMIT_DEPTH:
                raise refuse(event.start_mark, f"nested deeper than {LIMIT_DEPTH} levels")
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise refuse(event.start_mark, "a second document (---) is not allowed")
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        told = ": ".join(part for part in (error.context, error.problem) if part)
        raise refuse(error.problem_mark or error.context_mark, f"not YAML: {told}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        column = error.position - (text.rfind("\n", 0, error.position) + 1)
        message = f"a character that YAML does not allow: {error.character!r}"
        raise JobsFileInvalid(path, text, [Mistake(Place(line, column, 1), message)]) from error
    if not isinstance(root, yaml.MappingNode):
        raise refuse(
            root.start_mark if root else None,
            "the file is empty" if root is None else f"the file holds {describe(root)}",
            "It holds keys such as name:, defaults: and shots:; `farm init` writes an example.",
        )
    return root


_WRITE_OUT = "Write the value out, or put it under defaults:."


def entries(node: yaml.MappingNode, findings: Findings) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Key and value nodes by key; keys that are no text or come twice are noted."""
    found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            findings.add(key, f"a key is {describe(key)}; allowed: a word")
        elif key.value in found:
            first = found[key.value][0].start_mark.line + 1
            findings.add(key, f"{key.value} is given twice, first on line {first}")
        else:
            found[key.value] = (key, value)
    return found


def describe(node: yaml.Node) -> str:
    """What a node is, for a message."""
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    assert isinstance(node, yaml.ScalarNode)
    text = node.value if len(node.value) <= 40 else node.value[:37] + "..."
    if node.style:
        return f'"{text}"'
    return text or "empty"
