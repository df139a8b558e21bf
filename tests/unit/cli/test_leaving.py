"""`farm leave`, and the group of a worker in `farm workers`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farm.cluster import leaving
from tests.running import eventually, running_gateway, running_worker
from tests.unit.cli.conftest import Command


def test_leave_returns_once_this_machines_workers_have_left(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path, group="l4"),
    ):
        address = ("--address", str(gateway.address))
        eventually(lambda: "ACTIVE" in command("workers", *address).out)
        assert command("leave", "--within", "5").code == 0
        heads, row = command("workers", *address).lines
        assert "DRAINING" in row
        assert row[heads.index("GROUP") :].startswith("l4")
        assert json.loads(command("workers", "--json", *address).out)["group"] == "l4"


def test_leave_names_who_has_not_left_in_time(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(leaving, "_GRACE_S", 0.1)
    monkeypatch.setattr(leaving, "watch", lambda *_: None)
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path),
    ):
        ended = command("leave", "--within", "0.1")
    assert ended.code == 4
    assert "svdfarm-worker-" in ended.err
