"""Every value is described, and every default is one that a schema knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.check.chart import CHART, PROFILES

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
NOT_OURS = {"podSelector", "namespaceSelector", "ipBlock"}


def _properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each property's path, its schema, and whether the object it is in knows no others."""
    if isinstance(schema, dict):
        for name, found in schema.get("properties", {}).items():
            if name not in NOT_OURS:
                yield f"{path}.{name}", found, schema.get("additionalProperties") is False
        for name, found in schema.items():
            yield from _properties(found, f"{path}.{name}")


def _keys(values: Any, path: str = "") -> Iterator[str]:
    if isinstance(values, dict):
        for name, found in values.items():
            yield f"{path}.{name}"
            yield from _keys(found, f"{path}.{name}")


def test_every_value_is_described_and_no_other_is_taken() -> None:
    found = list(_properties(SCHEMA))

    assert len(found) > 100
    assert [path for path, schema, _ in found if not schema.get("description")] == []
    assert [path for path, _, closed in found if not closed] == []


def test_every_value_has_a_default() -> None:
    described = {
        path.replace(".properties", "")
        for path, _, _ in _properties(SCHEMA)
        if not path.startswith(".$defs") and ".items" not in path
    }
    told = set(_keys(VALUES))

    assert described - told == {".global"}
    for path in told - described:  # such as one label of `labels`
        assert path.rpartition(".")[0].rpartition(".")[2] in {"labels", "requests", "limits"}


def test_each_profile_says_first_what_it_is_for() -> None:
    for profile in PROFILES:
        assert (CHART / "profiles" / f"{profile}.yaml").read_text().startswith("# ")
