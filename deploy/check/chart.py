"""The chart, as Helm renders it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from deploy.check.tools import HELM, ROOT

CHART = ROOT / "deploy" / "helm" / "svdfarm"
PROFILES = sorted(path.stem for path in (CHART / "profiles").glob("*.yaml"))
RELEASE = "farm"
NAMESPACE = "svdfarm"

Object = dict[str, Any]  # one of Kubernetes


class Refused(Exception):
    """The chart, or its schema, does not take these values; the message is Helm's."""


def render(
    profile: str | None,
    values: Object | None = None,
    *,
    release: str = RELEASE,
    with_tests: bool = True,
) -> str:
    """What `helm template` prints for a profile, with `values` on top. Raises Refused."""
    command = ["template", release, str(CHART), "--namespace", NAMESPACE]
    if not with_tests:
        command.append("--skip-tests")
    done = _helm(command, profile, values)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def lint(profile: str) -> str:
    """What `helm lint --strict` complains of; empty if of nothing."""
    done = _helm(["lint", "--strict", "--quiet", str(CHART)], profile)
    return done.stdout + done.stderr if done.returncode else ""


def _helm(
    command: list[str], profile: str | None, values: Object | None = None
) -> subprocess.CompletedProcess[str]:
    files = [str(CHART / "profiles" / f"{profile}.yaml")] if profile else []
    given = [word for file in [*files, "-"] for word in ("--values", file)]
    return subprocess.run(
        [str(HELM), *command, *given],
        input=json.dumps(values or {}),  # YAML of PyYAML has 1e3 as text, of Go as a number
        capture_output=True,
        text=True,
    )


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which PyYAML would take the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"twice in one mapping: {twice}", node.start_mark
            )
        return super().construct_mapping(node, deep)


def objects(text: str) -> list[Object]:
    """The objects in rendered YAML."""
    return [found for found in yaml.load_all(text, Loader=_UniqueKeys) if found]


def named(found: Mapping[str, Any]) -> str:
    """KIND/NAME of an object."""
    return f"{found['kind']}/{found['metadata']['name']}"


def containers(found: Object) -> Iterator[Object]:
    """Every container in an object, whatever its kind."""
    for key, value in found.items():
        if key in ("containers", "initContainers"):
            yield from value
        elif isinstance(value, dict):
            yield from containers(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from containers(item)
