from __future__ import annotations

import random

import pytest

from farm.jobs.params import SVD, RenderParams, resolve
from farm.jobs.schedule import Candidate, Shape, WorkerView, assign, shape_of

WIDE, TALL = Shape("svd", 1024, 576), Shape("svd", 576, 1024)


def shot(name: str, model: str = "svd", *failed_on: str) -> Candidate:
    return Candidate(name, Shape(model), failed_on=frozenset(failed_on))


def nth(number: int, shape: Shape, *, job: int = 1, priority: int = 0) -> Candidate:
    return Candidate(f"{job}/{number}", shape, priority, job, number)


def worker(
    name: str,
    *models: str,
    idle: bool = True,
    ahead: bool = False,
    leaving: bool = False,
    warm: tuple[Shape, ...] = (),
) -> WorkerView:
    return WorkerView(name, frozenset(models or ("svd",)), idle, ahead, leaving, warm)


@pytest.mark.parametrize(
    ("queue", "workers", "expected"),
    [
        ([], [worker("w")], []),
        ([shot("a")], [], []),
        ([shot("a"), shot("b")], [worker("w")], [("a", "w")]),
        ([shot("a"), shot("b")], [worker("w"), worker("x")], [("a", "w"), ("b", "x")]),
        ([shot("a")], [worker("w", idle=False)], []),
        ([shot("a")], [worker("w", leaving=True)], []),
        # A shot without a worker of its model holds nobody up.
        ([shot("a", "xt"), shot("b")], [worker("w")], [("b", "w")]),
        ([shot("a", "xt")], [worker("w"), worker("x", "xt", "svd")], [("a", "x")]),
        # Another worker is preferred, even a busy one;
        ([shot("a", "svd", "w")], [worker("w"), worker("x")], [("a", "x")]),
        ([shot("a", "svd", "w")], [worker("w"), worker("x", idle=False)], []),
        # where there is no other, the one that failed it will do.
        ([shot("a", "svd", "w")], [worker("w")], [("a", "w")]),
        ([shot("a", "svd", "w")], [worker("w"), worker("x", leaving=True)], [("a", "w")]),
        ([shot("a", "svd", "w", "x")], [worker("w"), worker("x", idle=False)], [("a", "w")]),
        # A shot is sent ahead only where nobody idle can take it.
        ([shot("a")], [worker("w", idle=False, ahead=True)], [("a", "w")]),
        ([shot("a")], [worker("w", idle=False, ahead=True), worker("x")], [("a", "x")]),
        ([shot("a"), shot("b")], [worker("w", ahead=True)], [("a", "w")]),
        ([shot("a", "xt")], [worker("w", "xt", idle=False, ahead=True), worker("x")], [("a", "w")]),
    ],
)
def test_assign(
    queue: list[Candidate], workers: list[WorkerView], expected: list[tuple[str, str]]
) -> None:
    assert [(a.shot, a.worker) for a in assign(queue, workers)] == expected


@pytest.mark.parametrize(
    ("queue", "workers", "expected"),
    [
        # A warm shot goes before an older cold one, and to the worker that is warm for it.
        ([nth(1, TALL), nth(2, WIDE)], [worker("w", warm=(WIDE,))], {("1/2", "w")}),
        (
            [nth(1, TALL), nth(2, WIDE)],
            [worker("w", warm=(WIDE,)), worker("x", warm=(TALL,))],
            {("1/2", "w"), ("1/1", "x")},
        ),
        # Nobody stays idle for want of a warm one.
        ([nth(1, TALL)], [worker("w", warm=(WIDE,))], {("1/1", "w")}),
        (
            [nth(1, TALL)],
            [worker("w", warm=(WIDE,)), worker("x", idle=False, warm=(TALL,))],
            {("1/1", "w")},
        ),
        # An idle worker takes a cold shot even where a warm one is nearly done.
        (
            [nth(1, WIDE)],
            [worker("w"), worker("x", idle=False, ahead=True, warm=(WIDE,))],
            {("1/1", "w")},
        ),
        # A cold shot goes where no warm shape, or none that others want, is given up.
        ([nth(1, TALL)], [worker("w", warm=(WIDE,)), worker("x")], {("1/1", "w")}),
        (
            [nth(1, TALL), nth(2, WIDE)],
            [worker("w", warm=(WIDE,)), worker("x")],
            {("1/1", "x"), ("1/2", "w")},
        ),
        # Of two that are warm, the one that nobody else needs.
        (
            [nth(1, WIDE), nth(2, TALL)],
            [worker("w", warm=(WIDE, TALL)), worker("x", warm=(WIDE,))],
            {("1/1", "x"), ("1/2", "w")},
        ),
        # Priority goes before warmth.
        ([nth(1, TALL, priority=1), nth(2, WIDE)], [worker("w", warm=(WIDE,))], {("1/1", "w")}),
        # Within reach: so many places in its job, the first shots of the next jobs.
        ([nth(1, TALL), nth(65, WIDE)], [worker("w", warm=(WIDE,))], {("1/65", "w")}),
        ([nth(1, TALL), nth(66, WIDE)], [worker("w", warm=(WIDE,))], {("1/1", "w")}),
        ([nth(9, TALL), nth(8, WIDE, job=9)], [worker("w", warm=(WIDE,))], {("9/8", "w")}),
        ([nth(9, TALL), nth(9, WIDE, job=9)], [worker("w", warm=(WIDE,))], {("1/9", "w")}),
        ([nth(9, TALL), nth(1, WIDE, job=10)], [worker("w", warm=(WIDE,))], {("1/9", "w")}),
    ],
)
def test_warm_shapes(
    queue: list[Candidate], workers: list[WorkerView], expected: set[tuple[str, str]]
) -> None:
    assert {(a.shot, a.worker) for a in assign(queue, workers)} == expected


def test_a_worker_that_is_not_asked_now_is_waited_for_all_the_same() -> None:
    queue, asked = [shot("a", "svd", "w")], [worker("w")]
    assert [a.worker for a in assign(queue, asked)] == ["w"]
    assert assign(queue, asked, [worker("w"), worker("x", idle=False)]) == []
    assert assign(queue, asked, [worker("x", leaving=True)]) != []


def test_an_assignment_says_whether_it_is_warm() -> None:
    queue = [nth(1, WIDE), nth(2, TALL)]
    chosen = assign(queue, [worker("w", warm=(WIDE,)), worker("x")])
    assert {a.worker: a.warm for a in chosen} == {"w": True, "x": False}


@pytest.mark.parametrize("seed", range(200))
def test_nobody_who_could_work_stays_idle(seed: int) -> None:
    draw = random.Random(seed)
    names = ["u", "v", "w", "x"]
    shapes = [WIDE, TALL, Shape("xt", 1024, 576)]
    workers = [
        worker(
            name,
            *draw.sample(["svd", "xt"], draw.randint(1, 2)),
            idle=draw.random() < 0.7,
            ahead=draw.random() < 0.5,
            leaving=draw.random() < 0.1,
            warm=tuple(draw.sample(shapes, draw.randint(0, 3))),
        )
        for name in names
    ]
    queue = sorted(
        (
            Candidate(
                str(n),
                draw.choice(shapes),
                draw.randint(0, 2),
                draw.randint(1, 12),
                n,
                frozenset(draw.sample(names, draw.choice([0, 0, 0, 1, 2]))),
            )
            for n in range(draw.randint(0, 8))
        ),
        key=lambda c: (-c.priority, c.job_number, c.number),
    )
    chosen = assign(queue, workers)
    shots = {c.shot: c for c in queue}
    views = {w.worker: w for w in workers}
    taken, busy = {a.shot for a in chosen}, {a.worker for a in chosen}
    assert len(chosen) == len(taken) == len(busy)
    for a in chosen:
        view = views[a.worker]
        assert shots[a.shot].shape.model in view.models
        assert view.idle or view.ahead
        assert not view.leaving
        assert a.warm == (shots[a.shot].shape in view.warm)
    for view in workers:
        if not view.idle or view.leaving or view.worker in busy:
            continue
        for left in (c for c in queue if c.shot not in taken and c.shape.model in view.models):
            others = [w for w in workers if not w.leaving and left.shape.model in w.models]
            assert view.worker in left.failed_on
            assert any(w.worker not in left.failed_on for w in others)


def test_a_shape_is_what_an_engine_compiles_for() -> None:
    def shape(**given: object) -> Shape:
        return shape_of(resolve(RenderParams(**given), SVD, seed=1))  # type: ignore[arg-type]

    plain = shape()
    assert plain == Shape("svd", 1024, 576, 14, 14, guided=True)
    assert shape(seed=2, step_count=4, motion_bucket_id=3, fps=9, crf=1) == plain
    assert shape(decode_chunk_size=14) == plain
    for other in (
        {"width_px": 512},
        {"height_px": 512},
        {"frame_count": 8},
        {"decode_chunk_size": 2},
        {"max_guidance_scale": 1.0},
    ):
        assert shape(**other) != plain
