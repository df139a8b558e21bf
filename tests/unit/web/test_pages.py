"""The web page, by its HTML: who sees it, what it takes, what it tells browsers."""

from __future__ import annotations

import ast
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx2
import pytest
from PIL import Image
from sqlalchemy import Connection, select

import farm
from farm.gateway.server import Gateway
from farm.store import schema
from farm.web.pages.sweep import read_settings
from farm.web.refusals import Refused
from svdfarm.v1 import render_service_pb2 as pb
from svdfarm.v1 import resources_pb2
from tests.running import IMAGES, eventually, running_gateway
from tests.unit.gateway.conftest import Caller
from tests.unit.web.conftest import ROCKET, post

TOKEN = "a-token-of-sixteen"
PAGES = ("/", "/gallery", "/compare", "/workers", "/docs", "/signin")


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[Caller]:
    with grpc.insecure_channel(str(gateway.address)) as channel:
        yield Caller(channel)


def _own(http: httpx2.Client) -> dict[str, str]:
    return {"origin": str(http.base_url).rstrip("/")}


def _submit(http: httpx2.Client, *images: Path, **fields: str) -> httpx2.Response:
    files = [("image", (path.name, path.read_bytes())) for path in images]
    return http.post("/submit", data=fields, files=files, headers=_own(http))


def _live_plots(http: httpx2.Client) -> str:
    """What the page is told of the last hour."""
    with http.stream("GET", "/live/jobs") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                told = json.loads(line.removeprefix("data: "))
                if told["id"] == "plots":
                    return str(told["html"])
    raise AssertionError("no plots")


def test_every_page_allows_itself_alone(http: httpx2.Client) -> None:
    for path in (*PAGES, "/nowhere", "/static/page.js"):
        answer = http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in policy
        if not path.startswith("/static"):
            assert " style=" not in answer.text
            assert "https://" not in answer.text.replace("https://github", "")


def test_images_and_settings_become_a_job_of_every_combination(
    http: httpx2.Client, caller: Caller
) -> None:
    answer = _submit(
        http,
        ROCKET,
        IMAGES / "coffee.png",
        model="tiny",
        motion_bucket_id="60, 127",
        seed="1-3",
        size="64x64",
        name="a sweep",
    )
    assert answer.status_code == 303
    job = caller.job(answer.headers["location"].removeprefix("/"))
    assert (job.display_name, job.shot_count) == ("a sweep", 12)
    shots = caller.shots(job.name)
    told = {(s.image, s.params.motion_bucket_id, s.params.seed) for s in shots}
    assert len(told) == 12
    page = http.get(answer.headers["location"])
    assert page.text.count('class="card"') == 12


def test_a_wrong_form_comes_back_with_what_was_given(http: httpx2.Client, caller: Caller) -> None:
    answer = _submit(http, ROCKET, size="100x100", name="mine")
    assert answer.status_code == 400
    assert "multiple of 8" in answer.text
    assert 'value="mine"' in answer.text
    assert _submit(http, ROCKET, seed="1-500").status_code == 400
    assert _submit(http, name="no picture").status_code == 400
    assert not caller.render.ListJobs(pb.ListJobsRequest()).jobs


def test_a_sweep_is_every_combination_and_no_more_than_some() -> None:
    swept = read_settings(
        {"seed": "1, 5 7-9", "noise_aug_strength": "0.02,0.1", "fps": "8", "tier": "fast"}
    )
    assert [(p.seed, p.noise_aug_strength) for p in swept[:3]] == [(1, 0.02), (1, 0.1), (5, 0.02)]
    assert len(swept) == 10
    assert {(p.fps, p.tier) for p in swept} == {(8, "fast")}
    for seeds in ("1-201", "9-1", "1-99999999999"):
        with pytest.raises(Refused):
            read_settings({"seed": seeds})
    with pytest.raises(Refused, match="201 clips"):
        read_settings({"seed": "1-200 201"})


def test_a_sweep_above_the_limit_is_not_expanded() -> None:
    ranges = " ".join(["0-199"] * 10_000)  # two million values in 64 KiB
    tracemalloc.start()
    with pytest.raises(Refused, match="clips"):
        read_settings({"seed": ranges, "noise_aug_strength": ranges})
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20


def test_names_are_text_and_no_html(http: httpx2.Client, caller: Caller) -> None:
    evil = "<script>alert(1)</script>"
    request = pb.CreateJobRequest(
        job=resources_pb2.Job(display_name=evil), shots=[caller.shot()], request_id=""
    )
    job = caller.render.CreateJob(request)
    for path in ("/", f"/{job.name}"):
        text = http.get(path).text
        assert evil not in text
        assert "&lt;script&gt;alert(1)" in text
    with http.stream("GET", f"/live/{job.name}") as stream:
        told = next(line for line in stream.iter_lines() if line.startswith("data:"))
    assert evil not in told


def test_a_change_needs_a_page_of_ours(http: httpx2.Client, caller: Caller) -> None:
    job = caller.create(caller.shot())
    path = f"/{job.name}/cancel"
    assert http.post(path).status_code == 403
    assert http.post(path, headers={"origin": "https://example.com"}).status_code == 403
    assert http.post(path, headers={"origin": "null"}).status_code == 403
    assert caller.job(job.name).state == resources_pb2.Job.QUEUED
    assert http.post(path, headers=_own(http)).status_code == 303
    assert caller.job(job.name).state == resources_pb2.Job.CANCELLED
    assert http.get(path).status_code == 405


def test_a_job_is_paused_resumed_requeued_and_deleted(http: httpx2.Client, caller: Caller) -> None:
    job = caller.create(caller.shot(), caller.shot("b"))
    state = resources_pb2.Job.State
    acts = {
        "pause": state.PAUSED,
        "resume": state.QUEUED,
        "shots/1/cancel": state.QUEUED,
        "cancel": state.CANCELLED,
        "requeue": state.QUEUED,
    }
    for act, wanted in acts.items():
        assert http.post(f"/{job.name}/{act}", headers=_own(http)).status_code == 303
        assert caller.job(job.name).state == wanted, act
    refused = http.post(f"/{job.name}/delete", headers=_own(http))
    assert (refused.status_code, "cancel it before" in refused.text) == (409, True)
    http.post(f"/{job.name}/cancel", headers=_own(http))
    assert http.post(f"/{job.name}/delete", headers=_own(http)).headers["location"] == "/"
    assert http.get(f"/{job.name}").status_code == 404
    assert http.post(f"/{job.name}/explode", headers=_own(http)).status_code == 404


def test_a_token_goes_into_a_cookie_and_out_again(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path / "data", token=TOKEN) as gateway,
        httpx2.Client(base_url=f"http://{gateway.http}") as http,
    ):
        own = _own(http)
        answer = http.get("/gallery")
        assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=/gallery")
        assert http.get("/live/jobs").status_code == 401
        for wrong in ("not this one, no", "ünicode of sixteen", ""):
            refused = http.post("/signin", data={"token": wrong}, headers=own)
            assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
        answer = http.post("/signin?next=/gallery", data={"token": TOKEN}, headers=own)
        assert (answer.status_code, answer.headers["location"]) == (303, "/gallery")
        kept = answer.headers["set-cookie"].lower()
        assert "httponly" in kept
        assert "samesite=strict" in kept
        assert "path=/" in kept
        assert http.get("/gallery").status_code == 200
        assert "Sign out" in http.get("/").text
        http.post("/signout", headers=own)
        assert http.get("/gallery").status_code == 303
        for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example"):
            answer = http.post(
                "/signin", params={"next": elsewhere}, data={"token": TOKEN}, headers=own
            )
            assert answer.headers["location"] == "/"


def test_the_list_comes_in_pages(http: httpx2.Client, caller: Caller) -> None:
    shot = caller.shot()
    names = [caller.create(shot).name for _ in range(30)][::-1]
    first = http.get("/").text
    assert [name for name in names if f'"/{name}"' in first] == names[:25]
    older = first.partition("/?page=")[2].partition('"')[0]
    second = http.get(f"/?page={older}").text
    assert [name for name in names if f'"/{name}"' in second] == names[25:]
    assert "data-live" not in second


def test_a_video_is_shown_where_there_is_one(rendering: httpx2.Client) -> None:
    video_id = post(rendering).json()["id"]
    job = video_id.removeprefix("video_")
    assert rendering.get(f"/jobs/{job}/shots/2/video").status_code == 404
    eventually(lambda: rendering.get(f"/v1/videos/{video_id}").json()["status"] == "completed")
    path = f"/jobs/{job}/shots/1/video"
    assert path in rendering.get("/gallery").text
    part = rendering.get(path, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert rendering.get(path, headers={"range": "bytes=9999999-"}).status_code == 416
    thumb = rendering.get(rendering.get(f"/jobs/{job}").text.partition('poster="')[2].split('"')[0])
    assert thumb.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(thumb.content)).size == (640, 427)
    told = rendering.get(f"/compare?shot=jobs/{job}/shots/1").text
    assert path in told
    assert "<b>1</b> clip rendered" in _live_plots(rendering)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
def test_an_image_is_shown_small(
    http: httpx2.Client, caller: Caller, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "image"
    Image.new("RGB", (2000, 1000), "red").save(path, kind)
    answer = _submit(http, path)
    (shot,) = caller.shots(answer.headers["location"].removeprefix("/"))
    for side_px in (160, 640):
        thumb = http.get(f"/{shot.image}/{side_px}.jpg")
        assert thumb.headers["content-type"] == "image/jpeg"
        assert thumb.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in thumb.headers["cache-control"]
        assert len(thumb.content) < 8_000
        assert Image.open(io.BytesIO(thumb.content)).size == (side_px, side_px // 2)
    for missing in (f"/{shot.image}/161.jpg", f"/images/{'0' * 64}/160.jpg"):
        assert http.get(missing).status_code == 404


def test_a_look_at_an_image_keeps_it_no_longer(
    http: httpx2.Client, caller: Caller, gateway: Gateway
) -> None:
    job = caller.create(caller.shot())
    (shot,) = caller.shots(job.name)

    def wanted() -> list[float | None]:
        def read(conn: Connection) -> list[float | None]:
            tables = (schema.image, schema.image_owner)
            return [conn.execute(select(table.c.want_time_s)).scalar_one() for table in tables]

        return gateway._store.database.submit(read).result()

    before = wanted()
    assert http.get(f"/{shot.image}/640.jpg").status_code == 200
    assert wanted() == before


def test_no_module_that_serves_decodes_an_image() -> None:
    root = Path(farm.__file__).parent
    paths = [*(root / "web").rglob("*.py"), *(root / "gateway").rglob("*.py")]
    assert len(paths) > 50
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert "PIL" not in {name.partition(".")[0] for name in names}, path


def test_the_gallery_looks_through_so_many_jobs_at_once(
    http: httpx2.Client, caller: Caller
) -> None:
    assert "No video yet" in http.get("/gallery").text
    shot = caller.shot()
    names = [caller.create(shot).name for _ in range(501)][::-1]  # one more than it looks through
    first = http.get("/gallery").text
    assert "No video among the newest" in first
    older = f"/gallery?after={names[499]}"
    assert f'"{older}"' in first
    second = http.get(older).text
    assert "No video yet" in second
    assert "Older" not in second


def test_what_has_no_video_is_not_compared(http: httpx2.Client, caller: Caller) -> None:
    job = caller.create(caller.shot())
    assert http.get("/compare", params={"shot": f"{job.name}/shots/1"}).status_code == 409
    assert http.get("/compare", params={"shot": "jobs/none/shots/1"}).status_code == 404
    many = [("shot", f"jobs/a/shots/{n}") for n in range(1, 12)]
    assert http.get("/compare", params=many).status_code == 400


def test_the_plots_tell_of_what_waits(http: httpx2.Client, caller: Caller) -> None:
    caller.create(caller.shot(), caller.shot("b"))
    assert "<b>2</b> waiting" in _live_plots(http)
