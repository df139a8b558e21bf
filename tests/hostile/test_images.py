from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from farm.render.errors import ImageRejected
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import render_service_pb2_grpc as pb_grpc
from tests.hostile.case import try_all
from tests.hostile.gateway import RealGateway
from tests.hostile.images import all_cases
from tests.unit.gateway.conftest import reason

REFUSAL_LIMIT_S = 2.0
REASONS = ("IMAGE_REJECTED", "IMAGE_TOO_LARGE")

Ask = Callable[[bytes], object]


@pytest.fixture
def upload(own_gateway: RealGateway) -> Iterator[Ask]:
    """Uploads to a real gateway. Raises ImageRejected where it says so, in time."""
    with grpc.insecure_channel(own_gateway.address) as channel:
        stub = pb_grpc.RenderServiceStub(channel)

        def ask(data: bytes) -> object:
            parts = (data[i : i + 2**18] for i in range(0, len(data), 2**18))
            started = time.monotonic()
            try:
                requests = (pb.UploadImageRequest(data=part) for part in parts)
                return stub.UploadImage(requests, timeout=30)
            except grpc.RpcError as error:
                taken_s = time.monotonic() - started
                if taken_s > REFUSAL_LIMIT_S or reason(error) not in REASONS:
                    pytest.fail(f"{data[:20]!r}...: {reason(error)} after {taken_s:.1f} s: {error}")
                raise ImageRejected(error.details()) from error

        yield ask


def test_a_gateway_says_to_every_image_what_it_must(upload: Ask, own_gateway: RealGateway) -> None:
    try_all(itertools.islice(all_cases(), 50), upload, ImageRejected)
    with own_gateway.growing_little():
        tally = try_all(all_cases(), upload, ImageRejected)

    assert tally.wrong == []
    assert tally.count >= 400


def test_a_worker_opens_what_it_must() -> None:
    command = [sys.executable, "-m", "tests.hostile.opening"]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)

    assert run.returncode == 0, run.stderr


def test_no_two_images_have_one_name() -> None:
    names = [case.name for case in all_cases()]

    assert len(set(names)) == len(names)
