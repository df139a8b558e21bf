"""What `farm up` hands to its programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from farm.cli.supervisor import FarmProcesses, FarmSettings
from farm.settings import NOT_FOR_WORKERS

SECRET = "a-secret-of-the-operator"


@pytest.fixture
def settings(cwd: Path) -> FarmSettings:
    return FarmSettings(
        address="127.0.0.1:0",
        http="127.0.0.1:0",
        data=cwd / "data",
        workers=None,
        model=None,
        device="cpu",
        dtype=None,
        engine="default",
        model_offload=False,
        forward_chunking=False,
        memory="auto",
        deterministic=False,
        worker_address=None,
        token=SECRET,
    )


def test_workers_get_a_token_of_their_own_and_no_other_secret(
    settings: FarmSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NOT_FOR_WORKERS:
        monkeypatch.setenv(name, SECRET)
    farm = FarmProcesses(settings)
    gateway, worker = farm.gateway.environment, farm.worker().environment

    assert SECRET not in worker.values()
    assert gateway["FARM_TOKEN"] == SECRET
    assert worker["FARM_WORKER_TOKEN"] == gateway["FARM_WORKER_TOKEN"]
    assert len(worker["FARM_WORKER_TOKEN"]) == 64


def test_every_start_makes_another_token_for_workers_unless_one_is_set(
    settings: FarmSettings,
) -> None:
    made = [FarmProcesses(settings).worker().environment["FARM_WORKER_TOKEN"] for _ in range(2)]
    given = FarmProcesses(replace(settings, worker_token="the-one-of-the-settings"))

    assert made[0] != made[1]
    assert given.worker().environment["FARM_WORKER_TOKEN"] == "the-one-of-the-settings"


def test_no_secret_is_on_a_command_line(settings: FarmSettings) -> None:
    farm = FarmProcesses(settings)
    for child in (farm.gateway, farm.worker()):
        told = " ".join(child._arguments)
        assert SECRET not in told
        assert child.environment["FARM_WORKER_TOKEN"] not in told


def test_workers_are_told_their_memory_and_whether_to_be_deterministic(
    settings: FarmSettings,
) -> None:
    wanted = replace(settings, memory="low", deterministic=True)
    plain = FarmProcesses(settings).worker()._arguments
    told = FarmProcesses(wanted).worker()._arguments

    assert plain[plain.index("--memory") + 1] == "auto"
    assert "--deterministic" not in plain
    assert told[told.index("--memory") + 1] == "low"
    assert "--deterministic" in told
