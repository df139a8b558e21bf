"""YAML nodes into values, one function per way of writing; what is wrong goes to Findings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import yaml

from farm.cli.jobs_file.document import describe, entries
from farm.cli.jobs_file.keys import ENCODING_KEYS, OTHER_WORDS, Key, Kind
from farm.cli.jobs_file.mistakes import Findings, did_you_mean
from farm.cli.sizes import find_sides_px
from farm.jobs.params import RANGES, Range

_WHOLE = re.compile(r"[-+]?(0|[1-9](_?[0-9]){0,24})")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_SUGGESTIONS_LIMIT = 20  # each takes a while, and a file may have 100,000 keys
_TEXT_TAG = "tag:yaml.org,2002:str"


def setting(key: Key, node: yaml.Node, where: str, findings: Findings) -> dict[str, object] | None:
    """The fields that the value of a clip's setting sets; None when it was refused."""
    told = f"{where}{key.name}"
    match key.kind:
        case Kind.SIZE:
            return _size(node, told, findings)
        case Kind.WHOLE | Kind.NUMBER:
            value: object = number(node, RANGES[key.fields[0]], told, findings)
        case Kind.CHOICE:
            value = choice(node, key.choices, told, findings)
        case Kind.TEXT:
            value = text(node, told, findings)
    return None if value is None else {key.fields[0]: value}


def number(node: yaml.Node, allowed: Range, told: str, findings: Findings) -> int | float | None:
    """A number in its range, written as a plain decimal."""
    value = _number(node, whole=allowed.whole)
    if value is not None and allowed.admits(value):
        return value
    quoted = isinstance(node, yaml.ScalarNode) and node.style and _NUMBER.fullmatch(node.value)
    hint = "A number stands without quotes." if quoted else ""
    findings.add(node, f"{told} is {describe(node)}; allowed: {allowed}", hint)
    return None


def choice(node: yaml.Node, choices: Collection[str], told: str, findings: Findings) -> str | None:
    """One of some words."""
    if isinstance(node, yaml.ScalarNode):
        for allowed in choices:
            if node.value == allowed:
                return allowed
    hint = did_you_mean(str(node.value), choices) if isinstance(node, yaml.ScalarNode) else ""
    findings.add(node, f"{told} is {describe(node)}; allowed: {' or '.join(choices)}", hint)
    return None


def text(node: yaml.Node, told: str, findings: Findings, *, limit: int | None = None) -> str | None:
    """A text that is not empty."""
    if not isinstance(node, yaml.ScalarNode):
        findings.add(node, f"{told} is {describe(node)}; allowed: text")
    elif not node.style and node.tag != _TEXT_TAG:
        hint = f'For a text put it in quotes: "{node.value}".' if node.value else ""
        findings.add(node, f"{told} is {describe(node)}; allowed: text", hint)
    elif not node.value.strip() or not node.value.isprintable():
        findings.add(node, f"{told} is {node.value!r}; allowed: text that can be seen")
    elif limit is not None and len(node.value) > limit:
        findings.add(node, f"{told} has {len(node.value)} characters; allowed: at most {limit}")
    else:
        return str(node.value)
    return None


def mapping(
    node: yaml.Node, allowed: Collection[str], told: str, findings: Findings
) -> Mapping[str, yaml.Node]:
    """The values of a mapping by key; unknown keys are noted with a suggestion."""
    if not isinstance(node, yaml.MappingNode):
        findings.add(
            node, f"{told} is {describe(node)}; allowed: a mapping with {', '.join(allowed)}"
        )
        return {}
    found, unknown = {}, 0
    for key, (key_node, value) in entries(node, findings).items():
        if key in allowed:
            found[key] = value
            continue
        other = OTHER_WORDS.get(key, "")
        hint = f"Did you mean {other}?" if other in allowed else ""
        unknown += 1
        if not hint and unknown <= _SUGGESTIONS_LIMIT:
            hint = did_you_mean(key, allowed)
        if key in ENCODING_KEYS:
            hint = f"{key} belongs under output:, for all shots."
        if key == "prompt":
            hint = "Stable Video Diffusion animates an image and takes no text prompt."
        hint = hint or f"Allowed: {', '.join(allowed)}."
        findings.add(key_node, f"{told} has an unknown key {key!r}", hint)
    return found


def _number(node: yaml.Node, *, whole: bool) -> int | float | None:
    if not isinstance(node, yaml.ScalarNode) or node.style:
        return None
    if _WHOLE.fullmatch(node.value):
        return int(node.value)
    if not whole and _NUMBER.fullmatch(node.value):
        return float(node.value)
    return None


def _size(node: yaml.Node, told: str, findings: Findings) -> dict[str, object] | None:
    sides = find_sides_px(node.value) if isinstance(node, yaml.ScalarNode) else None
    if sides is None:
        hint = ""
        if isinstance(node, yaml.SequenceNode) and len(node.value) == 2:
            hint = f"Write {'x'.join(describe(side) for side in node.value)}."
        findings.add(node, f"{told} is {describe(node)}; allowed: {Kind.SIZE.value}", hint)
        return None
    size = dict(zip(("width_px", "height_px"), sides, strict=True))
    refused = False
    for field, value in size.items():
        allowed = RANGES[field]
        if not allowed.admits(value):
            refused = True
            side = field.removesuffix("_px")
            findings.add(
                node,
                f"{told} is {node.value}: the {side} is {value}; allowed: {allowed}",
                _nearest(value, allowed),
            )
    return None if refused else dict(size)


def _nearest(value: int, allowed: Range) -> str:
    if not allowed.low < value < allowed.high:
        return ""
    below = value // allowed.multiple * allowed.multiple
    return f"The nearest are {below} and {below + allowed.multiple}."
