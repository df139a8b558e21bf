"""Parts of a video over HTTP."""

from __future__ import annotations

import httpx2
import pytest

from farm.web.sending import RangeRefused, read_range
from tests.running import eventually
from tests.unit.web.conftest import post


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-200", (0, 100)),
        ("bytes=50-5000", (50, 100)),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
    ],
)
def test_a_range_is_read_as_rfc_9110_has_it(header: str, part: tuple[int, int] | None) -> None:
    assert read_range(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_file_is_refused(header: str) -> None:
    with pytest.raises(RangeRefused):
        read_range(header, 100)


def test_a_player_gets_the_part_that_it_asks_for(rendering: httpx2.Client) -> None:
    video_id = post(rendering).json()["id"]
    eventually(lambda: rendering.get(f"/v1/videos/{video_id}").json()["status"] == "completed")
    path = f"/v1/videos/{video_id}/content"
    whole = rendering.get(path)
    size, etag = len(whole.content), whole.headers["etag"]
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")

    part = rendering.get(path, headers={"range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, whole.content[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{size}"
    everything = rendering.get(path, headers={"range": "bytes=0-"})
    assert (everything.status_code, everything.content) == (206, whole.content)
    outside = rendering.get(path, headers={"range": f"bytes={size}-"})
    assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")

    head = rendering.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["etag"]) == (str(size), etag)
    assert rendering.get(path, headers={"if-none-match": etag}).status_code == 304
    old = {"range": "bytes=0-9", "if-range": '"of before"'}
    assert rendering.get(path, headers=old).status_code == 200
