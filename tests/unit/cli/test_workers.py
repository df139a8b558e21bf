"""What an operator asks of workers, on the command line."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator

import pytest

import svdfarm
from tests.running import IMAGES, eventually, running_worker
from tests.unit.cli.conftest import Command
from tests.unit.client.running_farm import RunningFarm


def test_a_cordoned_worker_says_why_and_is_let_work(farm: RunningFarm, on_farm: Command) -> None:
    def states() -> dict[str, str]:
        lines = on_farm("workers", "--json").lines
        return {w["name"]: w["state"] for w in map(json.loads, lines)}

    with running_worker(farm.address, farm.folder, fault="a black clip") as worker:
        name = f"workers/{worker.id}"
        eventually(lambda: states().get(name) == "CORDONED")
        table = on_farm("workers").out
        lifted = on_farm("uncordon", worker.id, "workers/nobody")

        assert "a black clip" in table
        assert "REFUSED" in table
        assert lifted.code == 1
        assert lifted.lines == [f"{name} ACTIVE"]
        assert "error: there is no connected worker workers/nobody" in lifted.err


def test_a_drained_worker_is_told_as_json(on_farm: Command) -> None:
    (worker,) = map(json.loads, on_farm("workers", "--json").lines)

    drained = on_farm("drain", worker["name"], "--json")

    assert json.loads(drained.out)["state"] == "DRAINING"
    assert json.loads(drained.out)["refused_report_count"] == 0


@pytest.fixture
def rendering(farm: RunningFarm, on_farm: Command) -> Iterator[svdfarm.JobHandle]:
    """A job of one shot, that a slow worker renders."""
    on_farm("drain", "--host", platform.node())  # the fast one that is there
    with (
        running_worker(farm.address, farm.folder, step_s=0.05),
        svdfarm.Client(farm.address) as client,
    ):
        job = client.submit(IMAGES / "rocket.jpg", params=svdfarm.RenderParams(step_count=20))
        eventually(lambda: next(job.shots()).state is svdfarm.ShotState.RENDERING)
        yield job


def test_a_machine_is_drained_once_its_workers_hold_no_shot(
    rendering: svdfarm.JobHandle, on_farm: Command
) -> None:
    drained = on_farm("drain", "--host", platform.node(), "--wait", "20", "--json")

    assert [json.loads(line)["state"] for line in drained.lines] == ["DRAINING", "DRAINING"]
    assert drained.code == 0
    assert rendering.get().succeeded_shot_count == 1


def test_a_drain_that_takes_longer_than_it_may_says_so(
    rendering: svdfarm.JobHandle, on_farm: Command
) -> None:
    drained = on_farm("drain", "--host", platform.node(), "--wait", "0")

    assert drained.code == 4
    assert "after 0 s a worker still holds a shot" in drained.err
    assert rendering.get().succeeded_shot_count == 0


def test_a_drain_of_nobody_asks_whom(on_farm: Command) -> None:
    assert "say which workers" in on_farm("drain").err


def test_a_stall_timeout_that_is_none_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_STALL_TIMEOUT", "soon")

    refused = command("gateway", "--address", "127.0.0.1:0", "--data", "data")

    assert refused.code == 1
    assert "stall_timeout is 'soon'" in refused.err
