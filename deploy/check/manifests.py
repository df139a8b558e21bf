"""deploy/manifests: what the chart renders for each profile. `python -m deploy.check.manifests`."""

from __future__ import annotations

from pathlib import Path

from deploy.check import tools
from deploy.check.chart import PROFILES, render

FOLDER = tools.ROOT / "deploy" / "manifests"


def manifest_file(profile: str) -> Path:
    """Where a profile's manifest lies."""
    return FOLDER / f"{profile}.yaml"


def rendered(profile: str) -> str:
    """What has to stand there."""
    told = f"# `make manifests` renders this from the chart's profile {profile}. Do not edit.\n"
    return told + render(profile, with_tests=False)


def main() -> None:
    """Writes every profile's manifest."""
    tools.prepare()
    for profile in PROFILES:
        manifest_file(profile).write_text(rendered(profile))


if __name__ == "__main__":
    main()
