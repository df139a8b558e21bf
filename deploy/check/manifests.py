"""What is made of something else: deploy/manifests, what the chart renders for each profile, and
deploy/grafana, what a farm without the chart is watched with. `python -m deploy.check.manifests`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from deploy.check import tools
from deploy.check.chart import CHART, PROFILES, render
from deploy.grafana.dashboard import dashboard

FOLDER = tools.ROOT / "deploy" / "manifests"
GRAFANA = tools.ROOT / "deploy" / "grafana"
RULES = CHART / "files" / "rules.yaml"
_RULES_TOLD = """# `make manifests` makes this of the chart's rules, for targets of farm: farm.
# docs/ALERTS.md says of each alert what it means and what to do. Do not edit.
"""


def manifest_file(profile: str) -> Path:
    """Where a profile's manifest lies."""
    return FOLDER / f"{profile}.yaml"


def rendered(profile: str) -> str:
    """What has to stand there."""
    told = f"# `make manifests` renders this from the chart's profile {profile}. Do not edit.\n"
    return told + render(profile, with_tests=False)


def monitoring() -> Mapping[Path, str]:
    """What has to stand in the files of dashboard and alerts."""
    drawn = json.dumps(dashboard(), indent=2) + "\n"
    rules = RULES.read_text().replace("FARM", "farm")
    rules = "".join(line for line in rules.splitlines(keepends=True) if not line.startswith("#"))
    return {
        CHART / "files" / "dashboard.json": drawn,
        GRAFANA / "dashboard.json": drawn,
        GRAFANA / "rules.yaml": _RULES_TOLD + rules,
    }


def main() -> None:
    """Writes every one of them."""
    for path, text in monitoring().items():
        path.write_text(text)
    tools.prepare()
    for profile in PROFILES:
        manifest_file(profile).write_text(rendered(profile))


if __name__ == "__main__":
    main()
