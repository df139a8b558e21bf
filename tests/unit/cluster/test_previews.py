"""From the engine's latents to a watcher: all of it real."""

from __future__ import annotations

import io
from pathlib import Path

import grpc
from PIL import Image

from farm.gateway.server import Gateway
from farm.render.engine import Engine
from farm.render.load import Model
from farm.render.renderer import EngineRenderer
from svdfarm.v1.render_service_pb2 import WatchJobRequest
from svdfarm.v1.resources_pb2 import Shot
from tests.running import running_worker
from tests.unit.gateway.conftest import Caller


def test_a_watcher_sees_the_engines_previews(
    gateway: Gateway, model: Model, tmp_path: Path
) -> None:
    renderer = EngineRenderer(Engine(model))
    with grpc.insecure_channel(str(gateway.address)) as channel:
        caller = Caller(channel)
        job = caller.create(caller.shot(step_count=60))
        request = WatchJobRequest(name=job.name, previews=True)
        watching = caller.render.WatchJob(request, timeout=120)
        next(watching)
        with running_worker(str(gateway.address), tmp_path, renderer=renderer):
            shots = [response.shot for response in watching if response.HasField("shot")]

    shown = {shot.progress.preview for shot in shots if shot.progress.preview}
    assert shots[-1].state == Shot.SUCCEEDED
    assert len(shown) > 1  # the clip becomes clearer
    assert {Image.open(io.BytesIO(jpeg)).size for jpeg in shown} == {(24, 8)}
