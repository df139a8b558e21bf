from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from farm.gateway.server import Gateway
from tests.running import IMAGES, running_gateway, running_worker

ROCKET = IMAGES / "rocket.jpg"
# Small, and as multipart has them: strings.
SMALL = {
    "model": "tiny",
    "size": "64x64",
    "num_frames": "3",
    "num_inference_steps": "4",
    "seed": "7",
}


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx2.Client]:
    """HTTP to a gateway without workers."""
    with httpx2.Client(base_url=f"http://{gateway.http}", timeout=60) as client:
        yield client


@pytest.fixture
def rendering(tmp_path: Path) -> Iterator[httpx2.Client]:
    """HTTP to a gateway with a worker."""
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path),
        httpx2.Client(base_url=f"http://{gateway.http}", timeout=60) as client,
    ):
        yield client


def post(http: httpx2.Client, **fields: object) -> httpx2.Response:
    """Sends the rocket, as a form."""
    data = {**SMALL, **{name: str(value) for name, value in fields.items()}}
    with ROCKET.open("rb") as file:
        return http.post("/v1/videos", data=data, files={"input_reference": file})
