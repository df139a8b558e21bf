"""The chart's Pods ask for no more rights than they need."""

from __future__ import annotations

from pathlib import Path

from deploy.check.chart import PROFILES, Object, objects, render
from deploy.check.lifting import lift_pods
from deploy.check.policy import EXEMPTIONS, Finding, exemption_of, find


def _judged(profile: str) -> list[Object]:
    found = objects(render(profile))
    (ray,) = [each for each in found if each["kind"] == "RayService"]
    return [*found, *lift_pods(ray)]


def test_rules_are_followed_but_where_the_reason_is_told(tmp_path: Path) -> None:
    findings: list[Finding] = []
    for profile in PROFILES:
        folder = tmp_path / profile
        folder.mkdir()
        findings += find(_judged(profile), folder)

    assert [finding for finding in findings if exemption_of(finding) is None] == []
    assert {exemption_of(finding) for finding in findings} == set(EXEMPTIONS), "one is not needed"


def test_a_privileged_worker_is_found(tmp_path: Path) -> None:
    pods = _judged("single-gpu")
    pods[-1]["spec"]["containers"][0]["securityContext"]["privileged"] = True

    found = [each for each in find(pods, tmp_path) if exemption_of(each) is None]

    assert [(each.rule, each.resource) for each in found] == [
        ("CKV_K8S_16", "Pod.svdfarm.farm-svdfarm-gpu")
    ]
