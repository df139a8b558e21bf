"""checkov's rules for Kubernetes, and where the chart has its reasons not to follow one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from deploy.check.chart import Object
from deploy.check.tools import CHECKOV


@dataclass(frozen=True)
class Finding:
    """A rule that an object does not follow."""

    rule: str
    about: str
    resource: str  # such as Pod.svdfarm.farm-svdfarm-head


@dataclass(frozen=True)
class Exemption:
    """A rule that some objects need not follow, and why."""

    rule: str
    resources: str  # a regular expression
    why: str


EXEMPTIONS = (
    Exemption(
        "CKV_K8S_43",
        ".*",
        "A digest is known once you have built and pushed the images; images.*.digest takes it. "
        "Tags that move are refused.",
    ),
    Exemption(
        "CKV_K8S_15",
        ".*",
        "A tag names one build here, so a pull at each start would only cost minutes, and a start "
        "while the registry is away; images.pullPolicy can be Always.",
    ),
    Exemption(
        "CKV_K8S_35",
        ".*",
        "The farm, Ray, the model hub and S3 read their secrets from the environment. They are put "
        "there from Secrets, and no process here shows its environment.",
    ),
    Exemption(
        "CKV_K8S_8",
        r"Pod\..*-(head|cpu|gpu|l4|a100|test-health|test-render)",
        "KubeRay puts liveness probes into Ray's Pods; Pods of `helm test` run once and have a "
        "deadline.",
    ),
    Exemption(
        "CKV_K8S_9",
        r"Pod\..*-(head|test-health|test-render)",
        "KubeRay puts a readiness probe into the head; nobody is led to Pods of `helm test`.",
    ),
    Exemption(
        "CKV_K8S_38",
        r"Pod\..*-head",
        "Ray's autoscaler starts and ends Pods; its role covers its own RayCluster alone. The "
        "token is mounted only where a group scales.",
    ),
)


def find(objects: Iterable[Object], folder: Path) -> Iterator[Finding]:
    """What checkov finds in these objects."""
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects))
    command = [str(CHECKOV), "--directory", str(folder), "--framework", "kubernetes"]
    command += ["--output", "json", "--quiet", "--compact", "--skip-download", "--soft-fail"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    for failed in report["results"]["failed_checks"]:
        yield Finding(failed["check_id"], failed["check_name"], failed["resource"])


def exemption_of(finding: Finding) -> Exemption | None:
    """Why the object need not follow the rule; None where it should."""
    for exemption in EXEMPTIONS:
        if exemption.rule == finding.rule and re.fullmatch(exemption.resources, finding.resource):
            return exemption
    return None
