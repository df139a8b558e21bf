"""The official client, as it comes, against the farm."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.running import eventually, running_gateway, running_worker
from tests.unit.web.conftest import ROCKET

# OpenAI ends its own service, and has its client say so; the API lives on in others.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")

TOKEN = "a-token-of-sixteen"
KNOBS = {"num_frames": 3, "num_inference_steps": 4, "noise_aug_strength": 0.1, "seed": 11}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[openai.OpenAI]:
    with (
        running_gateway(tmp_path / "data", token=TOKEN) as gateway,
        running_worker(str(gateway.address), tmp_path, token=TOKEN),
        openai.OpenAI(base_url=f"http://{gateway.http}/v1", api_key=TOKEN, max_retries=0) as client,
    ):
        yield client


def test_the_client_creates_lists_downloads_and_deletes(client: openai.OpenAI) -> None:
    created = client.videos.create(
        prompt="", model="tiny", size="64x64", input_reference=ROCKET, extra_body=KNOBS
    )
    assert (created.object, created.model, created.size) == ("video", "tiny", "64x64")
    assert created.model_dump()["seed"] == 11

    eventually(lambda: client.videos.retrieve(created.id).status == "completed")
    content = client.videos.download_content(created.id)
    assert f'"{hashlib.sha256(content.content).hexdigest()}"' == content.response.headers["etag"]

    again = client.videos.create(
        prompt="a rocket", model="tiny", size="64x64", input_reference=ROCKET, extra_body=KNOBS
    )
    page = client.videos.list(limit=1)
    assert ([video.id for video in page.data], page.has_more) == ([again.id], True)
    assert [video.id for video in client.videos.list()] == [again.id, created.id]

    gone = client.videos.delete(created.id)
    assert (gone.id, gone.deleted) == (created.id, True)
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(created.id)


def test_the_client_creates_and_polls(client: openai.OpenAI) -> None:
    video = client.videos.create_and_poll(
        prompt="",
        model="tiny",
        size="64x64",
        input_reference=ROCKET,
        extra_body=KNOBS,
        poll_interval_ms=50,
    )
    assert video.status == "completed"


def test_the_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        client.videos.create(prompt="", model="sora-2", input_reference=ROCKET)
    assert wrong.value.param == "model"
    with pytest.raises(openai.BadRequestError) as missing:
        client.videos.create(prompt="a rocket", model="tiny")
    assert missing.value.param == "input_reference"
    waiting = client.videos.create(prompt="", model="svd", input_reference=ROCKET)
    with pytest.raises(openai.ConflictError):
        client.videos.download_content(waiting.id)
    stranger = client.with_options(api_key="another token of sixteen")
    with pytest.raises(openai.AuthenticationError):
        stranger.videos.list()
