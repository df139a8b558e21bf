"""What an operator asks of workers, on the command line."""

from __future__ import annotations

import json

import pytest

from tests.running import eventually, running_worker
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


def test_a_stall_timeout_that_is_none_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FARM_STALL_TIMEOUT", "soon")

    refused = command("gateway", "--address", "127.0.0.1:0", "--data", "data")

    assert refused.code == 1
    assert "stall_timeout is 'soon'" in refused.err
