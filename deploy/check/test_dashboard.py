"""Every query of dashboard and alerts, asked of a real Prometheus that scrapes a farm at work."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.check.test_monitoring import program
from deploy.grafana.dashboard import dashboard
from farm.jobs.params import RenderParams
from farm.render.errors import ParamsRejected
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from svdfarm import Client, NewShot, NotFound
from svdfarm import RenderParams as ClientParams
from tests.prometheus import running_prometheus
from tests.running import IMAGES, eventually, running_gateway, running_worker

SMALL = ClientParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=2)
WINDOW = "20s"


class Moody(FakeRenderer):
    """Fails each shot of an even seed at first, and those of seed 0 for good."""

    def __init__(self) -> None:
        super().__init__(step_s=0.02)
        self.seen: set[int] = set()

    def render(self, image: bytes, params: RenderParams, *args: Any, **kwargs: Any) -> Rendered:
        """As its mood is."""
        seed = params.seed or 0
        if seed == 0:
            raise ParamsRejected("not that one")
        if seed % 2 == 0 and seed not in self.seen:
            self.seen.add(seed)
            raise ValueError("a hiccup")
        return super().render(image, params, *args, **kwargs)


def test_every_query_finds_something_in_a_farm_at_work(tmp_path: Path) -> None:
    program("prometheus")
    queries = {
        target["expr"]: panel["title"]
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    }
    assert len(queries) > 25
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path, renderer=Moody()),
        Client(str(gateway.address)) as client,
        running_prometheus(str(gateway.http), tmp_path) as prometheus,
    ):
        seeds = itertools.count(1)

        def all_found() -> bool:
            image, seed = IMAGES / "rocket.jpg", next(seeds)
            wanted = (0, seed, max(1, seed - 1))  # the last was rendered before
            shots = [NewShot(image, replace(SMALL, seed=s)) for s in wanted]
            client.submit(shots).wait(timeout_s=60)
            with pytest.raises(NotFound):
                client.job("jobs/nobody").get()
            for query in list(queries):
                found = prometheus.query(query, WINDOW)
                if any(math.isfinite(float(series["value"][1])) for series in found):
                    del queries[query]
            return not queries

        # What is left of them when its time is up is told by the assertion.
        deadline = time.monotonic() + 90
        while not all_found():
            assert time.monotonic() < deadline, f"these found nothing: {queries}"
        assert len(_rules(prometheus)) > 5
        eventually(lambda: all(rule["health"] == "ok" for rule in _rules(prometheus)))
        assert prometheus.ask("label/farm/values") == ["farm"]


def _rules(prometheus: Any) -> list[Any]:
    return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
