"""The lines of the log: which ids they have, and what they never have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from farm.gateway.server import Gateway
from farm.render.fake import FakeRenderer
from farm.render.renderer import Rendered
from svdfarm import Client, RenderParams
from tests.running import IMAGES, running_worker

LOG = """
import structlog
from farm.logs import configure_logs

configure_logs()
log = structlog.get_logger()
token = "s3cr3t"
log.info("shot.assigned", shot="jobs/a/shots/7", attempt=2, worker="w1")
log.info("gateway.ready")
try:
    raise ValueError("broken")
except ValueError as error:
    log.error("publish.failed", shot="jobs/a/shots/7", exc_info=error)
"""


def test_a_line_of_a_shot_is_json_and_names_its_job() -> None:
    told = subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True, check=True)
    assigned, ready, failed = map(json.loads, told.stderr.splitlines())
    ids = {"job": "jobs/a", "shot": "jobs/a/shots/7", "attempt": 2, "worker": "w1"}
    assert assigned.items() > ids.items()
    assert (ready["event"], "job" in ready) == ("gateway.ready", False)
    assert failed["exception"][0]["exc_value"] == "broken"
    assert "s3cr3t" not in told.stderr


class FailsOnce(FakeRenderer):
    """A device that fails its first shot."""

    failed = False

    def render(self, *args: Any, **kwargs: Any) -> Rendered:
        if not self.failed:
            self.failed = True
            raise ValueError("a hiccup")
        return super().render(*args, **kwargs)


def test_every_line_of_a_shot_has_its_attempt_and_worker(gateway: Gateway, tmp_path: Path) -> None:
    small = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=3, step_count=2)
    with (
        capture_logs() as lines,
        running_worker(str(gateway.address), tmp_path, renderer=FailsOnce()),
        Client(str(gateway.address)) as client,
    ):
        client.submit([IMAGES / "rocket.jpg"], params=small).wait(timeout_s=60)
    of_shot = [line for line in lines if "shot" in line]
    assert {line["event"] for line in of_shot} == {
        "shot.assigned",
        "shot.started",
        "render.failed",
        "attempt.failed",
        "shot.rendered",
        "shot.succeeded",
    }
    assert all(line["attempt"] in (1, 2) and line["worker"] for line in of_shot)
