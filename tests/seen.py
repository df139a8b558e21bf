"""The pictures of docs/TRACES.md and docs/METRICS.md: `python -m tests.seen docs/images`.

Starts `farm up` with the built-in model, a Prometheus that scrapes it and a collector for its
spans; submits work for some minutes; draws the spans of one submission, and photographs pages of
Prometheus that ask the dashboard's own queries.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from html import escape
from pathlib import Path

from deploy.grafana.dashboard import dashboard
from svdfarm import Client, JobHandle, NewShot, RenderParams
from tests.otlp import Span, grpc_collector
from tests.prometheus import Prometheus, filled, running_prometheus
from tests.running import IMAGES, free_port

PHOTOGRAPHS = [IMAGES / name for name in ("rocket.jpg", "astronaut.png", "coffee.png")]
PANELS = (
    "Shots by state",
    "How much a device is used",
    "1. Does it wait? Time in the queue",
    "2. Does it render long? Time by stage",
)
WORK_S = 120.0
COLOURS = {"svdfarm-cli": "#7a7a7a", "svdfarm-gateway": "#3b6fb5", "svdfarm-worker": "#2e8b57"}


def main() -> None:
    """Writes trace.svg and prometheus.png."""
    out = Path(sys.argv[1])
    http = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory() as made, grpc_collector() as (collector, endpoint):
        folder = Path(made)
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        data = ["--address", "127.0.0.1:0", "--http", http, "--data", str(folder / "data")]
        up = [sys.executable, "-m", "farm", "up", *data, "--model", "nano", "--device", "cpu"]
        farm = subprocess.Popen(up, stdout=subprocess.PIPE, text=True, env=environment)
        assert farm.stdout is not None
        try:
            address = farm.stdout.readline().strip().removeprefix("ready ")
            with running_prometheus(http, folder, "2s") as prometheus, Client(address) as client:
                _work(client, address, environment, folder)
                photograph(prometheus, out / "prometheus.png")
        finally:
            farm.terminate()
            farm.wait(120)
        trace = next(s.trace for s in collector.spans if s.service == "svdfarm-cli")
        spans = [span for span in collector.spans if span.trace == trace]
        (out / "trace.svg").write_text(drawing(spans))


def _work(client: Client, address: str, environment: dict[str, str], folder: Path) -> None:
    """Keeps the farm at work for a while; one submission of the command's has to wait."""

    def submit(seed: int) -> JobHandle:
        params = RenderParams(seed=seed, step_count=6)
        return client.submit([NewShot(image, params) for image in PHOTOGRAPHS])

    started, seed = time.monotonic(), 1
    first = submit(seed)
    jobs = folder / "jobs.yaml"
    shots = (f"  - {{image: {image}, seed: 99}}" for image in PHOTOGRAPHS[:2])
    jobs.write_text("\n".join(["defaults: {steps: 6}", "shots:", *shots, ""]))
    command = [sys.executable, "-m", "farm", "--address", address, "submit", str(jobs)]
    out = ["--out", str(folder / "out")]
    subprocess.run([*command, *out], env=environment, check=True)
    first.wait(timeout_s=300)
    while time.monotonic() < started + WORK_S:
        seed += 1
        submit(seed).wait(timeout_s=300)


def photograph(prometheus: Prometheus, path: Path) -> None:
    """Prometheus's own page with some of the dashboard's panels."""
    from playwright.sync_api import sync_playwright

    found = {panel["title"]: panel for panel in dashboard()["panels"] if "targets" in panel}
    asked: dict[str, str] = {}
    for number, title in enumerate(PANELS):
        asked[f"g{number}.expr"] = filled(found[title]["targets"][0]["expr"], "30s")
        asked |= {f"g{number}.tab": "0", f"g{number}.range_input": "3m"}
        custom = found[title]["fieldConfig"]["defaults"]["custom"]
        asked[f"g{number}.stacked"] = "1" if "stacking" in custom else "0"
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(f"{prometheus.url}/graph?{urllib.parse.urlencode(asked)}")
        page.wait_for_function(
            f"document.querySelectorAll('.rickshaw_graph svg path').length >= {len(PANELS)}"
        )
        page.add_style_tag(content=".navbar { position: absolute !important }")
        page.screenshot(path=path, full_page=True)
        browser.close()


def drawing(spans: list[Span]) -> str:
    """A trace as SVG: a bar for each span, under the one that it is in."""
    start_s = min(span.start_s for span in spans)
    end_s = max(span.end_s for span in spans)
    left, width, height = 330, 900, 20
    scale = (width - left - 80) / (end_s - start_s)
    rows = list(_rows(spans, ""))
    tall = height * (len(rows) + 2)
    told = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{width}" height="{tall}" fill="white"/>',
    ]
    for row, (depth, span) in enumerate(rows):
        y, x = row * height, left + (span.start_s - start_s) * scale
        took_s = span.end_s - span.start_s
        wide = max(1.5, took_s * scale)
        colour = (
            "#c0392b" if span.attributes.get("error.type") else COLOURS.get(span.service, "#000")
        )
        name = escape(span.name.removeprefix("svdfarm.v1."))
        told += [
            f'<text x="{8 + 14 * depth}" y="{y + 14}">{name}</text>',
            f'<rect x="{x:.1f}" y="{y + 4}" width="{wide:.1f}" height="12" fill="{colour}"/>',
            f'<text x="{x + wide + 4:.1f}" y="{y + 14}" fill="#555">{_seconds(took_s)}</text>',
        ]
    x = left
    for service, colour in COLOURS.items():
        y = height * len(rows) + 12
        told.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>')
        told.append(f'<text x="{x + 16}" y="{y + 11}">{service}</text>')
        x += 150
    return "\n".join([*told, "</svg>", ""])


def _rows(spans: list[Span], parent: str, depth: int = 0) -> Iterator[tuple[int, Span]]:
    for span in spans:
        if span.parent == parent:
            yield depth, span
            yield from _rows(spans, span.id, depth + 1)


def _seconds(took_s: float) -> str:
    return f"{took_s:.2f} s" if took_s >= 0.095 else f"{took_s * 1000:.1f} ms"


if __name__ == "__main__":
    main()
