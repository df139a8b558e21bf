"""From CancelJob to the device: gateway, session, lease loop and renderer, all of them real."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.jobs.params import RenderParams
from farm.jobs.retry import MemoryProfile
from farm.render.engine import Engine
from farm.render.fake import FakeRenderer
from farm.render.load import Model
from farm.render.preview import Previews
from farm.render.renderer import Cancelled, DeviceMemory, EngineRenderer, OnStep, Rendered, Renderer
from svdfarm.v1.render_service_pb2 import CancelJobRequest
from svdfarm.v1.resources_pb2 import Job, Shot
from tests.running import eventually, running_worker
from tests.unit.gateway.conftest import Caller

HELD_AT = 3
NO_HEARTBEAT_S = 4.0  # the gateway's interval is 5 s: a cancel must not wait for one


class HeldRenderer:
    """Renders as another does, but stays in step HELD_AT until it is told to go on."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.info, self.device, self.note = renderer.info, renderer.device, renderer.note
        self.step = 0
        self.go_on = threading.Event()
        self.is_cancelled: Cancelled = lambda: False

    def device_memory(self) -> DeviceMemory | None:
        return self._renderer.device_memory()

    def render(
        self,
        image: bytes,
        params: RenderParams,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        memory: MemoryProfile = MemoryProfile.AS_STARTED,
        previews: Previews | None = None,
    ) -> Rendered:
        assert on_step is not None
        assert cancelled is not None
        self.is_cancelled = cancelled

        def hold(step: int, step_count: int) -> None:
            self.step = step
            if step == HELD_AT:
                assert self.go_on.wait(30)
            on_step(step, step_count)

        return self._renderer.render(image, params, hold, cancelled, memory, previews)


@pytest.fixture(params=["fake", "engine"])
def renderer(request: pytest.FixtureRequest) -> HeldRenderer:
    if request.param == "fake":
        return HeldRenderer(FakeRenderer())
    model: Model = request.getfixturevalue("model")
    return HeldRenderer(EngineRenderer(Engine(model)))


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield Caller(channel)


def test_no_step_begins_after_the_one_in_which_a_cancel_comes(
    gateway: Gateway, caller: Caller, tmp_path: Path, renderer: HeldRenderer
) -> None:
    job = caller.create(caller.shot(step_count=8))
    with running_worker(str(gateway.address), tmp_path, renderer=renderer):
        eventually(lambda: renderer.step == HELD_AT)
        caller.render.CancelJob(CancelJobRequest(name=job.name))
        eventually(renderer.is_cancelled, timeout_s=NO_HEARTBEAT_S)
        renderer.go_on.set()
        assert caller.watch(job.name)[-1].job.state == Job.CANCELLED
    assert renderer.step == HELD_AT
    assert caller.shots(job.name)[0].state == Shot.CANCELLED
