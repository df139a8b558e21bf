from __future__ import annotations

import asyncio

import pytest

from farm.gateway.feed import Feed

JOB = "job"


class Answers:
    """Counts how often it is asked; it answers when `open` is set."""

    def __init__(self) -> None:
        self.count = 0
        self.open = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.open.wait()
        return number


async def test_watchers_of_a_job_share_one_answer() -> None:
    feed, answers = Feed(), Answers()
    with feed.watch(JOB):
        asked = [asyncio.create_task(feed.ask(JOB, 1, answers)) for _ in range(3)]
        await asyncio.sleep(0)
        answers.open.set()
        assert await asyncio.gather(*asked) == [1, 1, 1]
        assert await feed.ask(JOB, 1, answers) == 1
        assert await feed.ask(JOB, 2, answers) == 2  # another question


async def test_no_watcher_misses_a_change_that_came_while_an_answer_was_under_way() -> None:
    feed, answers = Feed(), Answers()
    with feed.watch(JOB) as changed:
        stale = asyncio.create_task(feed.ask(JOB, 1, answers))
        await asyncio.sleep(0)
        feed.wake(JOB)
        answers.open.set()
        assert await stale == 1
        assert changed.is_set()
        assert await feed.ask(JOB, 1, answers) == 2


async def test_a_watcher_that_goes_away_takes_the_answer_from_nobody() -> None:
    feed, answers = Feed(), Answers()
    with feed.watch(JOB):
        gone, stays = (asyncio.create_task(feed.ask(JOB, 1, answers)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        answers.open.set()
        assert await stays == 1
        assert answers.count == 1


async def test_a_failed_answer_is_asked_for_again() -> None:
    feed, answers = Feed(), Answers()
    answers.open.set()

    async def fail() -> int:
        raise OSError("the store is away")

    with feed.watch(JOB):
        with pytest.raises(OSError, match="away"):
            await feed.ask(JOB, 1, fail)
        assert await feed.ask(JOB, 1, answers) == 1


async def test_answers_go_with_the_last_watcher() -> None:
    feed, answers = Feed(), Answers()
    answers.open.set()
    with feed.watch(JOB):
        await feed.ask(JOB, 1, answers)
    with feed.watch(JOB):
        assert await feed.ask(JOB, 1, answers) == 2


async def test_few_answers_are_kept() -> None:
    feed, answers = Feed(), Answers()
    answers.open.set()
    with feed.watch(JOB):
        for question in range(50):
            await feed.ask(JOB, question, answers)
        assert len(feed._watched[JOB].answers) <= 8
        assert await feed.ask(JOB, 49, answers) == 50  # the newest is


async def test_an_answer_that_fails_when_nobody_waits_is_asked_for_again() -> None:
    feed, answers = Feed(), Answers()
    answers.open.set()
    go_on = asyncio.Event()

    async def fail() -> int:
        await go_on.wait()
        raise OSError("the store is away")

    with feed.watch(JOB):
        gone = asyncio.create_task(feed.ask(JOB, 1, fail))
        await asyncio.sleep(0)
        gone.cancel()
        go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert await feed.ask(JOB, 1, answers) == 1
