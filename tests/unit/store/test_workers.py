"""The table of workers, on both databases."""

from __future__ import annotations

import dataclasses

from farm.store import cordons, workers
from farm.store.database import Database
from farm.store.workers import Session

ONE = Session("w1", "s1", "g1", b"about", frozenset({"tiny"}), "ACTIVE", 5.0)
TWO = Session("w2", "s2", "g2", b"", frozenset({"svd", "tiny"}), "ACTIVE", 6.0)


def join(database: Database, *sessions: Session, steady_s: float = 10.0) -> None:
    for session in sessions:
        database.submit(workers.join, session, steady_s).result()


def listed(database: Database, steady_s: float = 10.0) -> list[str]:
    return [row.id for row in database.submit(workers.page, steady_s, 0, 10).result()]


def test_workers_of_every_gateway_are_listed_in_pages(database: Database) -> None:
    join(database, TWO, ONE)
    (first,) = database.submit(workers.page, 12.0, 0, 1).result()
    (second,) = database.submit(workers.page, 12.0, 1, 1).result()
    assert (first.id, first.about, first.told_state, first.silent_s) == (
        "w1",
        b"about",
        "ACTIVE",
        2.0,
    )
    assert second.id == "w2"


def test_a_gateway_looks_at_those_of_its_workers_that_something_is_asked_of(
    database: Database,
) -> None:
    join(database, ONE, TWO)

    def asked(gateway: str, *besides: str) -> list[str]:
        rows = database.submit(workers.asked_at, gateway, besides, 12.0).result()
        return [row.id for row in rows]

    assert asked("g2") == []
    assert asked("g2", "w1", "w2") == ["w2"]
    database.submit(workers.want_drain, "w2").result()
    assert (asked("g1"), asked("g2")) == ([], ["w2"])
    database.submit(cordons.cordon_at_start, "w1", "it failed").result()
    assert asked("g1") == ["w1"]


def test_what_an_older_session_says_is_late(database: Database) -> None:
    newer = dataclasses.replace(ONE, id="s9", gateway="g2")
    join(database, ONE, newer)
    database.submit(workers.change, dataclasses.replace(ONE, state="DRAINING")).result()
    database.submit(workers.leave, ONE.id).result()
    row = database.submit(workers.get, "w1", 10.0).result()
    assert row is not None
    assert (row.session, row.told_state) == ("s9", "ACTIVE")
    database.submit(workers.leave, "s9").result()
    assert listed(database) == []


def test_a_worker_that_comes_back_is_known(database: Database) -> None:
    join(database, ONE)
    assert database.submit(workers.want_drain, "w1").result()
    database.submit(workers.count_refused, "w1").result()
    database.submit(workers.leave, "s1").result()
    assert not database.submit(workers.want_drain, "w1").result()
    join(database, dataclasses.replace(ONE, id="s9"))
    row = database.submit(workers.get, "w1", 10.0).result()
    assert row is not None
    assert (row.drain_wanted, row.refused_report_count) == (True, 1)


def test_who_is_not_heard_of_serves_nothing_and_is_dropped(database: Database) -> None:
    join(database, ONE, TWO)
    database.submit(workers.hear, "g2", [TWO], 30.0, 15.0).result()
    assert database.submit(workers.served, 20.0).result() == {"svd": 1, "tiny": 1}
    assert database.submit(workers.served, 0.0).result() == {"svd": 1, "tiny": 1}
    assert listed(database) == ["w2"]


def test_a_gateway_that_was_taken_for_gone_brings_its_workers_back(database: Database) -> None:
    join(database, ONE, TWO)
    database.submit(workers.leave_all, 12.0).result()
    assert listed(database) == []
    database.submit(workers.hear, "g1", [ONE], 13.0, 99.0).result()
    assert listed(database) == ["w1"]
    database.submit(workers.hear, "g2", [TWO], 99.0, 10.0).result()  # drops the other
    database.submit(workers.hear, "g1", [ONE], 99.0, 10.0).result()
    assert listed(database) == ["w1", "w2"]


def test_only_workers_that_take_shots_are_waited_for(database: Database) -> None:
    starting = dataclasses.replace(ONE, worker="w3", id="s3", state="STARTING")
    join(database, ONE, TWO, starting)
    everyone = database.submit(workers.taking, 0.0).result()
    assert everyone == {"w1": {"tiny"}, "w2": {"svd", "tiny"}}
    assert set(database.submit(workers.taking, 0.0, "g1").result()) == {"w2"}
    database.submit(workers.want_drain, "w2").result()
    assert set(database.submit(workers.taking, 0.0).result()) == {"w1"}
