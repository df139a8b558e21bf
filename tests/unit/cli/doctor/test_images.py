from __future__ import annotations

import pytest

from farm.cli.doctor.check import State
from farm.cli.doctor.images import check_images, judge_images
from farm.render.sandbox import pool
from farm.render.sandbox.pool import POOL


def test_this_machine_decodes_images_apart() -> None:
    (check,) = check_images()

    assert check.name == "images"
    assert check.state is not State.FAIL
    assert "1 GiB, 10 s" in check.found
    assert all(layer in check.found for layer in POOL.missing())


@pytest.mark.parametrize(
    ("missing", "state"),
    [
        ([], State.OK),
        (["namespaces without network: no"], State.OK),
        (["filter of system calls (seccomp): no"], State.WARN),
        (["namespaces without network: no", "filter of system calls (seccomp): no"], State.WARN),
    ],
)
def test_what_is_missing_is_told(missing: list[str], state: State) -> None:
    check = judge_images(missing)

    assert check.state is state
    assert all(layer in check.found for layer in missing)
    assert bool(check.advice) is (state is State.WARN)


def test_a_machine_that_starts_no_process_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    POOL.close()
    monkeypatch.setattr(pool, "_START", "raise SystemExit(1)")

    (check,) = check_images()

    assert check.state is State.FAIL
    assert "does not start" in check.found
