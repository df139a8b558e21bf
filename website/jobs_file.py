"""The reference of jobs.yaml, from the schema that its reader and editors use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from farm.cli.jobs_file.schema import schema
from farm.cli.jobs_file.template import TEMPLATE

_INTRODUCTION = """\
# jobs.yaml

One file is one job. It is read as YAML without tags, aliases or duplicate keys; a mistake is told
with line, column and, where one is near, what you meant. Editors that know JSON Schema take
[jobs.schema.json](../jobs.schema.json).

## The file
"""
_PARTS = ("defaults", "output")


def page() -> str:
    """A table for each mapping of the file, then the file that `farm init` writes."""
    whole = schema()
    keys = whole["properties"]
    shot = keys["shots"]["items"]["properties"]
    same = keys["defaults"]["properties"].keys()
    lines = [
        _INTRODUCTION,
        *_table({name: key for name, key in keys.items() if name not in (*_PARTS, "shots")}),
        f"| `shots` | 1 to {keys['shots']['maxItems']:,} of them, [below](#shots) | needed |",
        "| `defaults`, `output` | mappings, below | |",
        "",
        "## `shots`",
        "",
        "Each is a mapping of these, and of every setting of `defaults`.",
        "",
        *_table({name: key for name, key in shot.items() if name not in same}, needed=("image",)),
    ]
    for part in _PARTS:
        lines += ["", f"## `{part}`", "", keys[part]["description"], ""]
        lines += _table(keys[part]["properties"])
    lines += ["", "## With comments", "", "`farm init` writes this:", ""]
    lines += [f'```yaml title="jobs.yaml"\n{TEMPLATE}```', ""]
    return "\n".join(lines)


def _table(keys: Mapping[str, Mapping[str, Any]], needed: tuple[str, ...] = ()) -> Iterator[str]:
    yield "| key | what | default |"
    yield "|---|---|---|"
    for name, key in keys.items():
        told = filter(None, [key.get("description", ""), _allowed(key)])
        default = f"`{key['default']}`" if "default" in key else "needed" if name in needed else ""
        yield f"| `{name}` | {' '.join(told)} | {default} |"


def _allowed(key: Mapping[str, Any]) -> str:
    match key:
        case {"enum": words}:
            return "One of " + ", ".join(f"`{word}`" for word in words) + "."
        case {"minimum": low, "maximum": high, "type": kind}:
            return (
                f"{'A whole number' if kind == 'integer' else 'A number'} from {low} to {high:,}."
            )
        case {"maxLength": most, "type": "string"}:
            return f"At most {most:,} characters."
        case {"pattern": pattern} if "{1," in pattern:
            return f"Letters, digits, `.`, `_`, `-`; at most {pattern.split(',')[1][:-2]}."
    return ""
