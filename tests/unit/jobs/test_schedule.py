from __future__ import annotations

import pytest

from farm.jobs.schedule import Candidate, WorkerView, assign


def shot(name: str, model: str = "svd", *failed_on: str) -> Candidate:
    return Candidate(name, model, frozenset(failed_on))


def worker(name: str, *models: str, free: int = 1, leaving: bool = False) -> WorkerView:
    return WorkerView(name, frozenset(models or ("svd",)), free, leaving)


@pytest.mark.parametrize(
    ("queue", "workers", "expected"),
    [
        ([], [worker("w")], []),
        ([shot("a")], [], []),
        ([shot("a"), shot("b")], [worker("w")], [("a", "w")]),
        ([shot("a"), shot("b")], [worker("w", free=2)], [("a", "w"), ("b", "w")]),
        ([shot("a")], [worker("w", free=0)], []),
        ([shot("a")], [worker("w", leaving=True)], []),
        # A shot without a worker of its model holds nobody up.
        ([shot("a", "xt"), shot("b")], [worker("w")], [("b", "w")]),
        ([shot("a", "xt")], [worker("w"), worker("x", "xt", "svd")], [("a", "x")]),
        # Another worker is preferred, even a busy one;
        ([shot("a", "svd", "w")], [worker("w"), worker("x")], [("a", "x")]),
        ([shot("a", "svd", "w")], [worker("w"), worker("x", free=0)], []),
        # where there is no other, the one that failed it will do.
        ([shot("a", "svd", "w")], [worker("w")], [("a", "w")]),
        ([shot("a", "svd", "w")], [worker("w"), worker("x", leaving=True)], [("a", "w")]),
        ([shot("a", "svd", "w", "x")], [worker("w"), worker("x", free=0)], [("a", "w")]),
    ],
)
def test_assign(
    queue: list[Candidate], workers: list[WorkerView], expected: list[tuple[str, str]]
) -> None:
    assert [(a.shot, a.worker) for a in assign(queue, workers)] == expected


def test_no_worker_gets_more_than_it_can_take() -> None:
    queue = [shot(f"s{n}") for n in range(10)]
    workers = [worker("a", free=3), worker("b", free=1)]
    taken = [a.worker for a in assign(queue, workers)]
    assert (taken.count("a"), taken.count("b")) == (3, 1)
