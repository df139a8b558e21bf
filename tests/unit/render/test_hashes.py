"""Hashes of a model's files: right, and not made twice."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from farm.render.hashes import CACHE_FILE, hash_files


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "weights").write_bytes(b"first")
    (folder / "unet" / "config.json").write_bytes(b"{}")
    return folder


NAMES = ["unet/weights", "unet/config.json"]


def test_a_file_is_hashed_once_for_as_long_as_it_stays_as_it_is(
    model: Path, tmp_path: Path
) -> None:
    path = model / "unet" / "weights"
    before = hash_files(model, NAMES, tmp_path / "cache")
    then = path.stat()
    kept = tmp_path / "cache" / CACHE_FILE
    kept.write_text(kept.read_text().replace(sha256(b"first"), sha256(b"kept")))
    unread = hash_files(model, NAMES, tmp_path / "cache")
    path.write_bytes(b"other")
    while path.stat().st_ctime_ns == then.st_ctime_ns:  # until its clock's next tick
        os.utime(path, ns=(then.st_mtime_ns, then.st_mtime_ns))  # as long, as old as it was
    os.utime(path, ns=(then.st_mtime_ns, then.st_mtime_ns))
    changed = hash_files(model, NAMES, tmp_path / "cache")

    assert before == {"unet/config.json": sha256(b"{}"), "unet/weights": sha256(b"first")}
    assert unread == before | {"unet/weights": sha256(b"kept")}
    assert changed == before | {"unet/weights": sha256(b"other")}


def test_another_file_in_the_place_of_one_as_long_and_as_old_is_read(
    model: Path, tmp_path: Path
) -> None:
    path = model / "unet" / "weights"
    hash_files(model, NAMES, tmp_path)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    then = path.stat().st_mtime_ns
    os.utime(other, ns=(then, then))  # as an archive, a layer of an image or rsync sets it
    other.replace(path)

    assert hash_files(model, NAMES, tmp_path)["unet/weights"] == sha256(b"other")


def test_a_copy_elsewhere_is_read_and_a_link_to_the_same_file_is_not(
    model: Path, tmp_path: Path
) -> None:
    hash_files(model, NAMES, tmp_path)
    (tmp_path / "snapshot").symlink_to(model)
    known = (tmp_path / CACHE_FILE).read_text()

    assert hash_files(tmp_path / "snapshot", NAMES, tmp_path)["unet/weights"] == sha256(b"first")
    assert (tmp_path / CACHE_FILE).read_text() == known


@pytest.mark.parametrize("broken", ["not JSON", "[]", None])
def test_hashes_are_right_where_none_can_be_kept(
    model: Path, tmp_path: Path, broken: str | None
) -> None:
    if broken is None:
        (tmp_path / "cache").write_text("a file, where the folder belongs")
    else:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / CACHE_FILE).write_text(broken)

    assert hash_files(model, NAMES, tmp_path / "cache")["unet/weights"] == sha256(b"first")
