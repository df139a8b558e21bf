"""A gateway that stops leaves no image behind that is being decoded."""

from __future__ import annotations

import gc
import logging
import threading
from pathlib import Path

import grpc
import pytest

from farm.render.sandbox import pool
from tests.running import IMAGES, eventually, running_gateway
from tests.unit.gateway.conftest import Caller

HANGING = "from farm.render.sandbox import decoder; decoder.warm_up();"
HANGING += "decoder.warm_up = lambda: None; import time; decoder.decode = lambda *_: time.sleep(9);"


def test_a_decode_under_way_ends_with_its_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = threading.active_count()
    refused: list[grpc.RpcError] = []
    pool.POOL.close()
    monkeypatch.setattr(
        pool, "_START", pool._START.replace("serve(control)", f"{HANGING} serve(control)")
    )
    caplog.set_level(logging.ERROR, "asyncio")

    def upload(gateway: str) -> None:
        with grpc.insecure_channel(gateway) as channel:
            try:
                Caller(channel).upload(IMAGES / "rocket.jpg")
            except grpc.RpcError as error:
                refused.append(error)

    with running_gateway(tmp_path) as gateway:
        calling = threading.Thread(target=upload, args=[str(gateway.address)])
        calling.start()
        eventually(is_decoding)
    calling.join(20)

    assert len(refused) == 1
    eventually(lambda: not is_decoding())
    assert list(tmp_path.glob("spool/**/*.image")) == []
    gc.collect()
    assert caplog.text == ""
    eventually(lambda: threading.active_count() <= started + 2)


def is_decoding() -> bool:
    """Whether a forker of this process has a process that decodes."""
    mine = [p for task in Path("/proc/self/task").iterdir() for p in children(task)]
    return any(children(Path(f"/proc/{pid}/task/{pid}")) for pid in mine)


def children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except FileNotFoundError:
        return []
