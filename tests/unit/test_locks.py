"""What is locked is locked whole: each package by version and hashes, and its licence told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))


def packages(lock: str) -> dict[str, str]:
    """What stands about each package of a lock, by `name==version`."""
    text = (ROOT / "requirements" / lock).read_text()
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    return {re.split(r"[ ;\\]", block)[0]: block for block in blocks}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(lock: str) -> None:
    found = packages(lock)

    assert found
    assert [name for name in found if not re.fullmatch(r"[a-z0-9-]+==\S+", name)] == []
    hashless = [
        n for n, block in found.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)
    ]
    assert hashless == []


def test_torch_is_locked_once_for_each_build_and_nowhere_else() -> None:
    holding = [lock for lock in LOCKS if any(n.startswith("torch==") for n in packages(lock))]

    assert holding == ["torch-cpu.txt", "torch-cuda.txt"]
    assert list(packages("torch-cpu.txt")) == ["torch==2.13.0"]


@pytest.mark.parametrize("lock", ["dev.txt", "gateway.txt", "nano.txt"])
def test_what_goes_beside_the_server_has_its_versions(lock: str) -> None:
    server = dict(name.split("==") for name in packages("server.txt"))
    other = dict(name.split("==") for name in packages(lock))

    shared = server.keys() & other.keys()
    assert len(shared) > 30
    assert {n: other[n] for n in shared} == {n: server[n] for n in shared}


def test_the_licence_of_every_package_of_the_server_is_told() -> None:
    page = (ROOT / "docs" / "LICENCES.md").read_text()

    missing = [n for n in packages("server.txt") if not re.search(rf"\b{n.split('==')[0]}\b", page)]
    assert missing == []
    assert "HAProxy, GPLv2" in page
    assert "UNKNOWN" not in page
