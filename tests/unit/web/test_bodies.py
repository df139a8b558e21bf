"""What a body may cost the gateway, whatever is in it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import tracemalloc

import grpc
import httpx2
import pytest

from farm.gateway.server import Gateway
from farm.web.limits import FIELD_BYTES, Slots, reading
from farm.web.refusals import Refused
from farm.web.videos.data_url import read_json
from svdfarm.v1 import render_service_pb2 as pb
from tests.unit.gateway.conftest import Caller
from tests.unit.web.conftest import ROCKET, SMALL

URL = f"data:image/jpeg;base64,{base64.b64encode(ROCKET.read_bytes()).decode()}"


def _read(text: str | bytes) -> tuple[dict[str, object], bytes]:
    return read_json(io.BytesIO(text.encode() if isinstance(text, str) else text))


def test_an_image_in_json_is_read_however_it_is_written() -> None:
    rocket = ROCKET.read_bytes()
    escaped = URL.replace("/", "\\/")  # as PHP has it
    lines = "\\n".join(URL[first : first + 76] for first in range(0, len(URL), 76))
    percent = URL.replace("+", "%2B").replace("=", "%3D")
    for url in (URL, escaped, lines, percent, URL.replace("data:", "DATA:")):
        for image in (f'"{url}"', f'{{"image_url": "{url}"}}'):
            given, data = _read(
                f'{{"prompt": "a \\"data:\\" {"b" * 20_000}", "input_reference": {image}}}'
            )
            assert data == rocket
            assert set(given) == {"prompt"}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 22_000_000,
        b'{"seed": [' + b"[]," * 7_000_000,
        b'{"seed": "' + b'\\"' * 11_000_000,
        b'{"a":' * 4_400_000,
        b'["",' + b'"",' * 7_000_000 + b"1]",
        b'{"input_reference": "data:,", "prompt": "' + b"a" * 22_000_000 + b'"}',
        b'{"input_reference": "data:,' + b"%41" * 7_000_000 + b'"}',
    ],
    ids=lambda body: body[:8].decode(),
)
def test_what_is_no_image_is_refused_before_it_is_built(body: bytes) -> None:
    file = io.BytesIO(body)
    tracemalloc.start()
    with pytest.raises(Refused):
        read_json(file)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 100 * 2**20  # some copies of the body


def test_a_field_of_a_form_is_short_and_its_image_need_not_be(http: httpx2.Client) -> None:
    image = {"input_reference": (None, URL)}
    assert len(URL) > FIELD_BYTES
    assert http.post("/v1/videos", data=SMALL, files=image).status_code == 200
    answer = http.post("/v1/videos", data={**SMALL, "prompt": "a" * 70_000}, files=image)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_form")
    assert "64KB" in error["message"]
    both = {**image, "input_reference[image_url]": (None, URL)}
    for files in (both, [*image.items()] * 2):
        answer = http.post("/v1/videos", data=SMALL, files=files)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input_reference")
        assert "twice" in answer.json()["error"]["message"]


def test_json_as_large_as_an_image_may_be_becomes_a_video(http: httpx2.Client) -> None:
    large = base64.b64encode(bytes(16 * 2**20)).decode()
    body = json.dumps({"input_reference": f"data:image/png;base64,{large}"})
    answer = http.post(
        "/v1/videos", content=body.encode(), headers={"content-type": "application/json"}
    )
    assert answer.json()["error"]["code"] == "image_rejected"  # it arrived, and is no picture


async def test_a_place_is_waited_for_and_no_longer_than_so_long() -> None:
    slots = Slots(1, wait_s=0.05)
    async with slots.take():
        with pytest.raises(Refused, match="send it again") as refused:
            async with slots.take():
                pass
        assert refused.value.http_status == 503
    async with slots.take():  # free again
        pass


async def test_a_body_that_does_not_come_is_408() -> None:
    with pytest.raises(Refused, match="took longer") as refused:
        async with reading(0.01):
            await asyncio.Event().wait()
    assert refused.value.http_status == 408


def test_signing_in_reads_little(http: httpx2.Client) -> None:
    own = {"origin": str(http.base_url).rstrip("/")}
    answer = http.post("/signin", data={"token": "a" * 20_000}, headers=own)
    assert answer.status_code == 413
    assert "16 KiB" in answer.text


def test_the_page_takes_64_mib_at_once(http: httpx2.Client, gateway: Gateway) -> None:
    own = {"origin": str(http.base_url).rstrip("/")}
    files = [("image", (f"{n}.png", bytes(13 * 2**20))) for n in range(5)]
    answer = http.post("/submit", files=files, headers=own)
    assert answer.status_code == 413
    assert "64 MiB" in answer.text.partition('role="alert"')[2]
    with grpc.insecure_channel(str(gateway.address)) as channel:
        assert not Caller(channel).render.ListJobs(pb.ListJobsRequest()).jobs
