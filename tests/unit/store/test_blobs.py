"""Images and videos in a folder and in a bucket of a real S3-compatible server: the same."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.store.blobs import CHUNK_BYTES, Blobs, Content
from farm.store.bucket import BucketBlobs
from farm.store.folder import FolderBlobs
from tests.s3 import S3Server


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "folder":
        folder = FolderBlobs(tmp_path / "blobs")
        yield folder
        folder.close()
        return
    server: S3Server = request.getfixturevalue("s3")
    yield BucketBlobs.open(server.bucket())


async def test_blobs_are_written_once_and_read_from_any_offset(
    blobs: Blobs, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 9000
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert await blobs.put("videos/a/1-1.mp4", path)
    assert not await blobs.put("videos/a/1-1.mp4", path)
    assert not await blobs.put("videos/a/1-1.mp4", content)
    parts = [part async for part in blobs.read("videos/a/1-1.mp4", 1000)]
    assert b"".join(parts) == content[1000:]
    assert max(map(len, parts)) <= CHUNK_BYTES
    assert [part async for part in blobs.read("videos/a/1-1.mp4", len(content))] == []
    assert await blobs.read_whole("videos/a/1-1.mp4") == content


async def test_what_is_deleted_is_gone(blobs: Blobs) -> None:
    keys = [f"videos/a/{n}-1.mp4" for n in range(3)]
    for key in keys:
        await blobs.put(key, b"video")
    blobs.delete(*keys[:2], "videos/never/1-1.mp4")
    assert [blobs.has(key) for key in keys] == [False, False, True]
    blobs.delete()
    blobs.delete(keys[0])
    with pytest.raises(FileNotFoundError):
        await blobs.read_whole(keys[0])
    with pytest.raises(FileNotFoundError):
        [part async for part in blobs.read(keys[0])]


async def test_all_that_is_there_is_listed(blobs: Blobs) -> None:
    assert blobs.files() == []
    await blobs.put("videos/a/1-1.mp4", b"video")
    await blobs.put("images/x", b"picture!")
    files = {file.key: file for file in blobs.files()}
    assert {key: file.size_bytes for key, file in files.items()} == {
        "videos/a/1-1.mp4": 5,
        "images/x": 8,
    }
    assert all(abs(file.modify_time_s - time.time()) < 60 for file in files.values())


async def test_what_a_killed_gateway_left_half_written_is_removed(tmp_path: Path) -> None:
    old, young, whole = (tmp_path / "videos" / name for name in ("a.mp4#1", "b.mp4#23", "c#d.mp4"))
    old.parent.mkdir()
    for path in (old, young, whole):
        path.write_bytes(b"vid")
    for path in (old, whole):
        os.utime(path, (0, 0))
    blobs = FolderBlobs(tmp_path)
    blobs.remove_leftovers()
    assert [path.exists() for path in (old, young, whole)] == [False, True, True]
    blobs.close()


@pytest.mark.parametrize("torn", [b"", b"whol", b"hole!"])
async def test_what_is_torn_is_written_again(blobs: Blobs, torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "whole"
    path.write_bytes(b"whole")
    await blobs.put("images/x", torn)
    await blobs.put("images/x", path)
    assert await blobs.read_whole("images/x") == b"whole"


async def test_files_that_are_synced_together_fail_alone(tmp_path: Path) -> None:
    lost: list[str] = []

    class Losing(FolderBlobs):
        """One file is deleted between its writing and its sync."""

        async def _sync(self, key: str) -> None:
            if key == "videos/lost/1-1.mp4":
                self.delete(key)
                lost.append(key)
            await super()._sync(key)

    blobs = Losing(tmp_path / "blobs")
    keys = [f"videos/kept/{n}-1.mp4" for n in range(20)]
    put = [blobs.put(key, b"video") for key in ("videos/lost/1-1.mp4", *keys)]
    missing, *rest = await asyncio.gather(*put, return_exceptions=True)
    assert isinstance(missing, FileNotFoundError)
    assert rest == [True] * 20
    assert lost == ["videos/lost/1-1.mp4"]
    blobs.close()


async def test_what_is_collected_while_it_is_compared_is_written_again(tmp_path: Path) -> None:
    class Collected(FolderBlobs):
        def _holds(self, key: str, content: Content) -> bool:
            self.delete(key)
            return super()._holds(key, content)

    blobs = Collected(tmp_path / "blobs")
    await blobs.put("images/a", b"the image")
    assert not await blobs.put("images/a", b"the image")
    assert await blobs.read_whole("images/a") == b"the image"
    blobs.close()
