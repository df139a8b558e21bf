"""OpenAI's video routes: what they answer."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path
from typing import NoReturn

import grpc
import httpx2

from farm.gateway.server import Gateway
from farm.jobs.params import TINY
from farm.render.fake import FakeRenderer
from farm.web.farm import Farm
from farm.web.videos.routes import Videos
from svdfarm.v1 import render_service_pb2 as pb
from tests.running import eventually, running_gateway, running_worker
from tests.unit.gateway.conftest import Caller
from tests.unit.web.conftest import ROCKET, SMALL, post

DATA_URL = f"data:image/jpeg;base64,{base64.b64encode(ROCKET.read_bytes()).decode()}"


def _completed(http: httpx2.Client, video_id: str) -> dict[str, object]:
    eventually(lambda: http.get(f"/v1/videos/{video_id}").json()["status"] == "completed")
    answer: dict[str, object] = http.get(f"/v1/videos/{video_id}").json()
    return answer


def test_a_form_becomes_a_video(rendering: httpx2.Client) -> None:
    created = post(rendering, prompt="")
    assert created.status_code == 200
    assert created.json()["status"] in ("queued", "in_progress")
    video = _completed(rendering, created.json()["id"])
    assert video["progress"] == 100
    assert (video["size"], video["num_frames"], video["seed"]) == ("64x64", 3, 7)
    assert video["completed_at"] is not None
    content = rendering.get(f"/v1/videos/{video['id']}/content")
    assert content.headers["content-type"] == "video/mp4"
    assert content.headers["etag"] == f'"{hashlib.sha256(content.content).hexdigest()}"'
    assert content.content[4:8] == b"ftyp"


def test_json_with_a_data_url_becomes_a_video(http: httpx2.Client) -> None:
    for image in (DATA_URL, {"image_url": DATA_URL}):
        answer = http.post(
            "/v1/videos", json={"input_reference": image, "seed": 5, "size": "64x64"}
        )
        assert (answer.status_code, answer.json()["seed"]) == (200, 5)
    form = {"input_reference[image_url]": (None, DATA_URL)}  # as clients flatten it in a form
    assert http.post("/v1/videos", files=form).status_code == 200


def test_no_url_is_fetched(http: httpx2.Client) -> None:
    for url in (f"http://{http.base_url.netloc.decode()}/healthz", "file:///etc/passwd"):
        for image in (url, {"image_url": url}):
            answer = http.post("/v1/videos", json={"input_reference": image})
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == "input_reference"
            assert "fetches nothing" in answer.json()["error"]["message"]


def test_an_invalid_field_is_400_and_named(http: httpx2.Client) -> None:
    wrong = {
        "num_frames": "0",
        "fps": "seven",
        "seed": "-1",
        "noise_aug_strength": "nan",
        "size": "65x64",
        "fit": "bend",
        "codec": "theora",
        "tier": "draft",
        "model": "sora-2",
        "seconds": "0.5",
        "cheese": "1",
    }
    for name, value in wrong.items():
        answer = post(http, **{name: value})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, name), error
        assert error["type"] == "invalid_request_error"


def test_seconds_say_the_frames(http: httpx2.Client) -> None:
    fields = {"size": "64x64", "model": "tiny", "seconds": "4"}
    with ROCKET.open("rb") as file:
        made = http.post("/v1/videos", data=fields, files={"input_reference": file}).json()
    assert (made["num_frames"], made["seconds"]) == (28, "4")
    answer = post(http, seconds="1")
    assert "give one of them" in answer.json()["error"]["message"]


def test_seconds_of_any_size_are_read_at_once(http: httpx2.Client) -> None:
    for value in ("1e999999", "9e999999", "-1e999999", "1e-999999", "nan", "inf", "9" * 400, "1 s"):
        began_s = time.monotonic()
        answer = http.post("/v1/videos", json={"input_reference": DATA_URL, "seconds": value})
        assert time.monotonic() - began_s < 5, value
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, "seconds"), value
        assert len(error["message"]) < 300


def test_what_is_no_image_is_400(http: httpx2.Client) -> None:
    answer = http.post("/v1/videos", data=SMALL, files={"input_reference": b"GIF89a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "image_rejected")
    assert http.post("/v1/videos", json={}).json()["error"]["param"] == "input_reference"
    for body in (b"[]", b"{"):
        answer = http.post("/v1/videos", content=body, headers={"content-type": "application/json"})
        assert answer.json()["error"]["code"] == "invalid_json"
    assert http.post("/v1/videos", content=b"image").status_code == 400


def test_a_body_above_the_limit_is_413(http: httpx2.Client) -> None:
    large = {"input_reference": bytes(16 * 2**20 + 1)}
    assert http.post("/v1/videos", data=SMALL, files=large).status_code == 413

    def endless() -> object:
        yield b'{"input_reference": "'
        for _ in range(40):
            yield b"A" * 2**20

    answer = http.post(
        "/v1/videos",
        content=endless(),  # type: ignore[arg-type]
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413


def test_an_unknown_video_is_404(http: httpx2.Client) -> None:
    for path in ("video_nothere", "jobs", "video_../x", "video_nothere/content"):
        answer = http.get(f"/v1/videos/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert http.delete("/v1/videos/video_nothere").status_code == 404
    assert http.get("/v1/else").json()["error"]["type"] == "invalid_request_error"


def test_content_that_is_not_ready_is_409(http: httpx2.Client) -> None:
    video_id = post(http).json()["id"]
    answer = http.get(f"/v1/videos/{video_id}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "video_not_ready")


def test_a_cancelled_video_has_failed_and_says_so(http: httpx2.Client, gateway: Gateway) -> None:
    video_id = post(http).json()["id"]
    with grpc.insecure_channel(str(gateway.address)) as channel:
        Caller(channel).render.CancelJob(
            pb.CancelJobRequest(name=f"jobs/{video_id.removeprefix('video_')}")
        )
    video = http.get(f"/v1/videos/{video_id}").json()
    assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")
    answer = http.get(f"/v1/videos/{video_id}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "video_failed")


def test_progress_is_that_of_the_worker(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path, renderer=FakeRenderer(TINY, 0.1)),
        httpx2.Client(base_url=f"http://{gateway.http}", timeout=60) as http,
    ):
        path = f"/v1/videos/{post(http, num_inference_steps=8).json()['id']}"
        seen: list[tuple[str, int]] = []

        def ended() -> bool:
            video = http.get(path).json()
            seen.append((video["status"], video["progress"]))
            return bool(video["status"] == "completed")

        eventually(ended)
        assert seen == sorted(seen, key=lambda told: told[1])
        between = {progress for status, progress in seen if status == "in_progress"}
        assert len(between & {12, 25, 37, 50, 62, 75, 87}) > 1


def test_deleting_a_video_that_renders_cancels_it_first(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data") as gateway,
        running_worker(str(gateway.address), tmp_path, renderer=FakeRenderer(TINY, 0.1)),
        httpx2.Client(base_url=f"http://{gateway.http}", timeout=60) as http,
    ):
        path = f"/v1/videos/{post(http, num_inference_steps=200).json()['id']}"
        eventually(lambda: http.get(path).json()["status"] == "in_progress")
        answer = http.delete(path)
        assert answer.json() == {
            "id": path.removeprefix("/v1/videos/"),
            "object": "video.deleted",
            "deleted": True,
        }
        assert http.get(path).status_code == 404


def test_videos_are_listed_in_pages_newest_first(http: httpx2.Client, gateway: Gateway) -> None:
    ids = [post(http, seed=seed).json()["id"] for seed in range(5)]
    with grpc.insecure_channel(str(gateway.address)) as channel:
        caller = Caller(channel)
        caller.create(caller.shot(seed=1), caller.shot("b", seed=2))  # several shots: no video
    pages, after = [], None
    while after is None or pages[-1]["has_more"]:
        query = {"limit": "2"} | ({"after": after} if after else {})
        pages.append(http.get("/v1/videos", params=query).json())
        after = pages[-1]["last_id"]
    assert [video["id"] for page in pages for video in page["data"]] == ids[::-1]
    assert [len(page["data"]) for page in pages] == [2, 2, 1]
    upwards = http.get("/v1/videos", params={"order": "asc", "after": ids[1]}).json()
    assert [video["id"] for video in upwards["data"]] == ids[2:]
    limits = [{"limit": given} for given in ("0", "101", "1000000019", "1" * 5000)]
    for query in (*limits, {"order": "up"}):
        assert http.get("/v1/videos", params=query).status_code == 400
    assert http.get("/v1/videos", params={"after": "video_nothere"}).status_code == 404


def test_a_list_looks_through_so_many_jobs_at_once(http: httpx2.Client, gateway: Gateway) -> None:
    oldest = post(http).json()["id"]
    with grpc.insecure_channel(str(gateway.address)) as channel:
        caller = Caller(channel)
        shots = caller.shot(), caller.shot("b")
        for _ in range(910):  # more than one answer looks through
            caller.create(*shots)
    first = http.get("/v1/videos", params={"limit": "1"}).json()
    assert (first["data"], first["has_more"]) == ([], True)
    second = http.get("/v1/videos", params={"limit": "1", "after": first["last_id"]}).json()
    assert [video["id"] for video in second["data"]] == [oldest]
    assert (second["last_id"], second["has_more"]) == (oldest, False)


def test_the_same_idempotency_key_makes_one_video(http: httpx2.Client) -> None:
    def send(key: str, **fields: str) -> httpx2.Response:
        with ROCKET.open("rb") as file:
            return http.post(
                "/v1/videos",
                data={**SMALL, **fields},
                files={"input_reference": file},
                headers={"idempotency-key": key},
            )

    first = send("of my own")
    assert send("of my own").json()["id"] == first.json()["id"]
    assert send("another").json()["id"] != first.json()["id"]
    changed = send("of my own", seed="8")
    assert (changed.status_code, changed.json()["error"]["code"]) == (409, "request_id_reused")


def test_a_token_is_asked_for_and_handed_on(tmp_path: Path) -> None:
    token = "a-token-of-sixteen"
    with (
        running_gateway(tmp_path / "data", token=token) as gateway,
        httpx2.Client(base_url=f"http://{gateway.http}") as http,
    ):
        answer = http.get("/v1/videos")
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert post(http).status_code == 401
        cookie = {"cookie": f"svdfarm_token={token}"}  # which pages of others could send along
        assert http.get("/v1/videos", headers=cookie).status_code == 401
        answer = http.get("/v1/videos", headers={"authorization": f"Bearer {token}"})
        assert answer.json()["data"] == []


def test_a_token_that_is_no_text_is_401(http: httpx2.Client) -> None:
    for token in ("tökenöfsixteenxx", "a\ttoken-of-sixteen", "x" * 1001):
        header = {b"authorization": f"Bearer {token}".encode("latin-1")}
        answer = http.get("/v1/videos", headers=header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_invalid")


async def test_what_nobody_foresaw_is_an_error_of_openais() -> None:
    class Broken(Farm):
        def calls(self, token: str | None) -> NoReturn:
            raise ZeroDivisionError("a secret of the farm's")

    transport = httpx2.ASGITransport(Videos(Broken("")).app(), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://farm") as http:
        answer = await http.get("/videos")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in answer.text


def test_a_page_of_another_site_changes_nothing(http: httpx2.Client) -> None:
    foreign = {"origin": "https://example.com"}
    assert http.post("/v1/videos", json={}, headers=foreign).status_code == 403
    own = {"origin": str(http.base_url).rstrip("/")}
    assert http.post("/v1/videos", json={}, headers=own).status_code == 400
    assert http.get("/v1/videos", headers=foreign).status_code == 200


def test_the_description_names_every_field(http: httpx2.Client) -> None:
    told = http.get("/openapi.json").json()
    post_ = told["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    properties = post_["multipart/form-data"]["schema"]["properties"]
    assert properties["num_frames"]["maximum"] == 128
    assert properties["seed"]["maximum"] == 2**63 - 1
    video = post(http).json()
    schema = told["components"]["schemas"]["Video"]
    assert set(video) == set(schema["required"])
