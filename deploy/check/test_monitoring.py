"""Alerts fire when they should; alerts and dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check.chart import CHART, containers, objects, render
from deploy.check.manifests import monitoring
from deploy.check.tools import ROOT

RULES = CHART / "files" / "rules.yaml"
DASHBOARD = CHART / "files" / "dashboard.json"
_METRIC = re.compile(r"\bsvdfarm_[a-z_]+")


def program(name: str) -> str:
    """Where one of Prometheus's is; without it the test is skipped, and fails with CI=true."""
    if found := shutil.which(name):
        return found
    told = f"{name} is not on PATH (Debian's prometheus has it): alerts and queries are not tried"
    if os.environ.get("CI") == "true":
        pytest.fail(told)
    pytest.skip(told)


def _alerts() -> list[str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def _panels() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("rules_test.yaml"), tmp_path)

    command = [program("promtool"), "test", "rules", "rules_test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_and_says_what_to_do() -> None:
    rules = [r for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]]
    tests = yaml.safe_load(Path(__file__).with_name("rules_test.yaml").read_text())["tests"]
    fired = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert {rule["alert"] for rule in rules} == fired
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_every_alert_is_in_the_runbook() -> None:
    page = (ROOT / "docs" / "ALERTS.md").read_text()
    rules = [r for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]]

    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == [rule["alert"] for rule in rules]
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/ALERTS.md#{rule['alert'].lower()}"


def test_what_is_made_of_rules_and_dashboard_is_what_they_make() -> None:
    for path, text in monitoring().items():
        assert path.read_text() == text, f"{path} is out of date: run make manifests"


def test_metrics_that_are_asked_for_are_told() -> None:
    metrics: Any = pytest.importorskip("farm.gateway.metrics")
    told = {metric.name for metric in metrics.Metrics().registry.collect()}

    for query in _alerts() + _panels():
        for name in _METRIC.findall(query):
            assert re.sub("_(total|bucket|sum|count)$", "", name) in told, query


def test_the_chart_carries_alerts_and_dashboard_unchanged() -> None:
    rendered = objects(render("multi-gpu"))
    (rule,) = [found for found in rendered if found["kind"] == "PrometheusRule"]
    (config,) = [found for found in rendered if found["kind"] == "ConfigMap"]

    assert rule["spec"] == yaml.safe_load(RULES.read_text().replace("FARM", "svdfarm/farm-svdfarm"))
    assert json.loads(config["data"]["svdfarm.json"]) == json.loads(DASHBOARD.read_text())


def test_two_farms_are_told_apart() -> None:
    for queries, farm in ((_alerts(), "FARM"), (_panels(), "$farm")):
        for query in queries:
            told = re.findall(r"(?:svdfarm|process)_[a-z_]+(.{0,7})", query)
            assert told
            assert set(told) == {'{farm="'}, query
            assert query.count(f'farm="{farm}"') == len(told)
    monitors = [f for f in objects(render("multi-gpu")) if f["kind"] == "PodMonitor"]
    for monitor in monitors:
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            relabelled = {"targetLabel": "farm", "replacement": "svdfarm/farm-svdfarm"}
            assert relabelled in endpoint["relabelings"]


def test_metrics_are_open_only_where_prometheus_shows_no_token() -> None:
    for secret in ("", "metrics"):
        values = {"monitoring": {"podMonitors": {"token": {"existingSecret": secret}}}}
        rendered = objects(render("ha", values))
        (gateway,) = [found for found in rendered if found["kind"] == "Deployment"]
        (container,) = containers(gateway)
        opened = {"name": "FARM_OPEN_METRICS", "value": "true"} in container["env"]
        (endpoint,) = [
            found["spec"]["podMetricsEndpoints"][0]
            for found in rendered
            if found["kind"] == "PodMonitor" and found["metadata"]["name"].endswith("-gateway")
        ]
        assert opened is not bool(secret)
        assert ("authorization" in endpoint) is bool(secret)


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
