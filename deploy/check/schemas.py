"""Is an object one that the API server would take, unknown fields refused?

Built-in kinds are judged by kubernetes-validate, custom ones by the schema in their
CustomResourceDefinition, made strict as the API server's `fieldValidation=Strict` is.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from deploy.check.chart import Object, named
from deploy.check.tools import KUBERNETES_VALIDATE

KUBERNETES = "1.37"
CUSTOM_GROUPS = ("ray.io", "monitoring.coreos.com", "cert-manager.io")
WITHOUT_SCHEMA = (
    "cert-manager.io",
)  # whose definitions are not at hand; test_tls reads its object

Schema = dict[str, Any]
Validators = dict[tuple[str, str], jsonschema.Draft7Validator]  # by apiVersion and kind


def is_custom(found: Object) -> bool:
    """Whether its kind comes from a CustomResourceDefinition."""
    return str(found["apiVersion"]).split("/")[0] in CUSTOM_GROUPS


def builtin_mistakes(found: Iterable[Object], folder: Path) -> str:
    """What kubernetes-validate says of objects of built-in kinds; empty if all are right."""
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(found))
    command = [str(KUBERNETES_VALIDATE), "--strict", "--quiet", "--kubernetes-version", KUBERNETES]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True)
    return done.stdout + done.stderr


def custom_mistakes(found: Object, validators: Validators) -> list[str]:
    """What the schema of its kind says against an object of a custom kind."""
    validator = validators.get((found["apiVersion"], found["kind"]))
    if validator is None:
        return [f"{named(found)}: no schema of {found['apiVersion']} {found['kind']}"]
    return [
        f"{named(found)}: {error.json_path}: {error.message[:300]}"
        for error in validator.iter_errors(found)
    ]


def read_crds(folder: Path) -> Validators:
    """A strict validator for each version of each kind that the files in `folder` define."""
    validators: Validators = {}
    for path in sorted(folder.rglob("*.yaml")):
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        for crd in yaml.load_all(path.read_text(), Loader=loader):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            for version in crd["spec"]["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                # The API server checks these itself.
                schema["properties"]["metadata"] = {"type": "object"}
                of = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                validators[of] = jsonschema.Draft7Validator(schema)
    return validators


def _strict(schema: Schema) -> Schema:
    """A CustomResourceDefinition's schema as JSON Schema, in which unknown fields are mistakes."""
    strict = {key: value for key, value in schema.items() if not _is_kubernetes_own(key)}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            strict[key] = _strict(schema[key])
    properties = schema.get("properties")
    if properties is not None:
        strict["properties"] = {name: _strict(of) for name, of in properties.items()}
        # Defaults are filled in before the check.
        strict["required"] = [
            name for name in schema.get("required", []) if "default" not in properties.get(name, {})
        ]
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
        strict["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("nullable") and "type" in strict:
        strict["type"] = [strict["type"], "null"]
    return strict


def _is_kubernetes_own(key: str) -> bool:
    return key.startswith("x-kubernetes-") or key in ("default", "nullable", "format")
