"""A real Prometheus that scrapes a farm, for tests and pictures."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.running import eventually, free_port

RULES = Path(__file__).parents[1] / "deploy" / "grafana" / "rules.yaml"


class Prometheus:
    """Its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: str) -> Any:
        """The data that /api/v1/PATH answers."""
        given = urllib.parse.urlencode(query)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{given}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, panel_query: str, window: str) -> list[Any]:
        """What a query of the dashboard finds now, with every variable at All."""
        return list(self.ask("query", query=filled(panel_query, window))["result"])

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).status == 200)
        return False


def filled(panel_query: str, window: str) -> str:
    """A query as Grafana sends it; `window` is its $__rate_interval."""
    query = panel_query.replace("$__rate_interval", window).replace("$farm", "farm")
    return re.sub(r"\$(model|worker)", ".*", query)


@contextmanager
def running_prometheus(gateway: str, folder: Path, interval: str = "1s") -> Iterator[Prometheus]:
    """One that scrapes the gateway whose HTTP is at HOST:PORT, and has the farm's alerts."""
    found = shutil.which("prometheus")
    assert found is not None, "prometheus is not on PATH: Debian's package has it"
    shutil.copy(RULES, folder / "rules.yaml")
    config = folder / "prometheus.yaml"
    config.write_text(f"""
global: {{scrape_interval: {interval}, evaluation_interval: {interval}}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: svdfarm
    static_configs: [{{targets: ["{gateway}"], labels: {{farm: farm}}}}]
""")
    port = free_port()
    command = [found, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: prometheus.is_ready, 60)
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)
