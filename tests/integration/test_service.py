"""The application of a RayService, given to Serve as KubeRay does, on GPUs that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from svdfarm import Client, NewShot, RenderParams
from tests.integration.conftest import POD_TOKEN
from tests.running import IMAGES, eventually, running_gateway

# With a model, as no worker says which one this farm has.
SMALL = RenderParams(model="tiny", width_px=64, height_px=64, frame_count=2, step_count=60)


@contextmanager
def deployed(**args: object) -> Iterator[None]:
    """The application of the group `one`, for the length of a with block."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ApplicationStatus, ServeDeploySchema

    application = {
        "name": "svdfarm-one",
        "route_prefix": "/one",
        "import_path": "farm.cluster.service:build",
        "args": {"model": "tiny", "group": "one", "device": "cpu", "cpus": 0.5, **args},
    }
    config = ServeDeploySchema.model_validate({"applications": [application]})
    _get_global_client().deploy_apps(config)

    def running() -> bool:
        found = serve.status().applications["svdfarm-one"]
        assert found.status != ApplicationStatus.DEPLOY_FAILED, found.message
        return found.status == ApplicationStatus.RUNNING

    try:
        eventually(running, timeout_s=60)
        yield
    finally:
        serve.delete("svdfarm-one")


def targets() -> int:
    """How many workers Serve has or is starting."""
    from ray import serve

    states = serve.status().applications["svdfarm-one"].deployments["worker"].replica_states
    return sum(states.values())


@pytest.mark.usefixtures("ray_cluster")
def test_a_group_grows_from_none_to_what_waits_and_shrinks_to_none(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", token=POD_TOKEN) as gateway,
        Client(str(gateway.address), POD_TOKEN) as client,
        deployed(gateway=str(gateway.address), gpus=1, max_workers=3, idle_s=1, drain_s=10),
    ):
        assert targets() == 0
        shots = [NewShot(IMAGES / "rocket.jpg", SMALL, name=f"shot-{n}") for n in range(6)]
        job = client.submit(shots)
        eventually(lambda: targets() == 3, timeout_s=60)
        assert job.wait(timeout_s=120).succeeded_shot_count == 6
        assert len({shot.worker for shot in job.shots()}) == 3
        eventually(lambda: targets() == 0 and not list(client.workers()), timeout_s=60)
        # None of them was stopped while it rendered.
        assert [a.outcome for a in job.attempts()] == ["SUCCEEDED"] * 6

        again = client.submit(shots[:1], use_cache=False)
        assert again.wait(timeout_s=60).succeeded_shot_count == 1
        eventually(lambda: targets() == 0, timeout_s=60)
