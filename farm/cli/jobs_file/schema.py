"""The JSON Schema of jobs.yaml, for editors; docs/jobs.schema.json is this module's output.

python -m farm.cli.jobs_file.schema > docs/jobs.schema.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from farm.cli.jobs_file.keys import (
    COMBINE_CHOICES,
    ENCODING_KEYS,
    NAME_LIMIT,
    PARAM_KEYS,
    PRIORITY_LIMIT,
    Key,
    Kind,
)
from farm.jobs.names import OUTPUT_NAME_DEFAULT, SHOT_NAME_LIMIT
from farm.jobs.params import DEFAULTS, MAX_SHOTS_PER_JOB, RANGES
from farm.jobs.webhooks import URL_LIMIT


def schema() -> dict[str, Any]:
    """The schema. What no schema can say is checked by the reader: sums, files, names, sizes."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "jobs.yaml",
        "description": "A job for a render farm of Stable Video Diffusion.",
        "type": "object",
        "additionalProperties": False,
        "required": ["shots"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT},
            "priority": {"type": "integer", "minimum": 0, "maximum": PRIORITY_LIMIT},
            "webhook": {
                "description": "An https URL that the farm tells of each ending of the job.",
                "type": "string",
                "pattern": "^https?://",
                "maxLength": URL_LIMIT,
            },
            "defaults": _mapping(_settings(PARAM_KEYS), "What shots get that do not say."),
            "output": _mapping(
                {
                    "dir": _text("The folder, against the working directory."),
                    "name": {
                        **_text("The file's name, with fields such as {shot} and {seed}."),
                        "default": OUTPUT_NAME_DEFAULT,
                    },
                    **_settings(ENCODING_KEYS),
                },
                "Where the videos go.",
            ),
            "shots": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_SHOTS_PER_JOB,
                "items": _shot(),
            },
        },
    }


def dump() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=2) + "\n"


def _shot() -> dict[str, Any]:
    swept = {name: _swept(key) for name, key in PARAM_KEYS.items()}
    properties = {
        "name": {"type": "string", "pattern": f"^[A-Za-z0-9._-]{{1,{SHOT_NAME_LIMIT}}}$"},
        "image": _text("A path relative to this file, a glob, an http(s) or data URL."),
        **_settings(PARAM_KEYS),
        "sweep": {
            **_mapping(swept, "One shot for each combination of these values."),
            "minProperties": 1,
        },
        "combine": {"enum": list(COMBINE_CHOICES), "default": COMBINE_CHOICES[0]},
    }
    return {
        **_mapping(properties, "One image to animate."),
        "required": ["image"],
        "dependentRequired": {"combine": ["sweep"]},
    }


def _settings(keys: Mapping[str, Key]) -> dict[str, Any]:
    return {name: _value(key) for name, key in keys.items()}


def _value(key: Key) -> dict[str, Any]:
    found: dict[str, Any] = {"description": key.about}
    default = getattr(DEFAULTS, key.fields[0])
    if default is not None:
        found["default"] = default
    match key.kind:
        case Kind.TEXT:
            return {**found, "type": "string", "minLength": 1}
        case Kind.CHOICE:
            return {**found, "enum": [str(choice) for choice in key.choices]}
        case Kind.SIZE:
            side = RANGES[key.fields[0]]
            return {
                **found,
                "description": f"WIDTHxHEIGHT, each {side}. {key.about}",
                "type": "string",
                "pattern": "^[0-9]+x[0-9]+$",
            }
        case Kind.WHOLE | Kind.NUMBER:
            allowed = RANGES[key.fields[0]]
            kind = "integer" if allowed.whole else "number"
            return {**found, "type": kind, "minimum": allowed.low, "maximum": allowed.high}


def _swept(key: Key) -> dict[str, Any]:
    values = {"type": "array", "minItems": 1, "items": _value(key)}
    if key.kind is not Kind.WHOLE:
        return values
    span = {"type": "string", "pattern": "^ *[0-9]+ *- *[0-9]+ *(: *[0-9]+ *)?$"}
    return {"oneOf": [values, span]}


def _mapping(properties: dict[str, Any], about: str) -> dict[str, Any]:
    return {
        "description": about,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _text(about: str) -> dict[str, Any]:
    return {"description": about, "type": "string", "minLength": 1}


if __name__ == "__main__":
    print(dump(), end="")  # noqa: T201
