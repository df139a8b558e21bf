"""What becomes of changes when PostgreSQL restarts, ends a connection, or its answer is lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import URL, Connection

from farm.store import claims, inputs, jobs, leases, workers, writer
from farm.store.database import Database
from farm.store.errors import StoreAway
from farm.store.postgres import Postgres
from farm.store.records import ShotKey
from farm.store.store import Store
from farm.store.workers import Session
from tests.postgres import PostgresServer
from tests.running import eventually
from tests.unit.store.conftest import IMAGE, create, new_job


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[URL]:
    with postgres.database() as url:
        yield url


@contextlib.contextmanager
def opened(url: URL) -> Iterator[Database]:
    database = Database.open(Postgres(url))
    try:
        database.submit(inputs.put_image, IMAGE, 0.0).result()
        yield database
    finally:
        database.close()


def test_a_server_that_has_become_read_only_is_left(postgres: PostgresServer, url: URL) -> None:
    def set_read_only(state: str) -> None:
        name = url.database
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}")

    with opened(url) as database:
        set_read_only("on")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        postgres.execute(ended, url.database)
        job = database.submit(jobs.create_job, new_job(), 0.0)
        with pytest.raises(TimeoutError):
            job.result(timeout=0.5)
        set_read_only("off")  # as where the next connection gets to the new primary
        assert job.result(timeout=5).shot_count == 1


def test_sessions_outlive_a_restart_of_the_database(
    postgres: PostgresServer, url: URL, tmp_path: Path
) -> None:
    store = Store.open(tmp_path, url)
    try:
        write, now = store.database.submit, store.clock.steady_s()
        session = Session("w", "s", store.name, b"", frozenset({"tiny"}), "ACTIVE", 0.0)
        write(workers.join, session, 0.0).result()
        postgres.stop()
        postgres.start()
        (row,) = write(workers.asked_at, store.name, ["w"], now).result()
        assert (row.id, row.silent_s < 60) == ("w", True)
    finally:
        store.close()
    store = Store.open(tmp_path, url)
    try:
        page = workers.page
        assert store.database.submit(page, store.clock.steady_s(), 0, 10).result() == []
    finally:
        store.close()


@pytest.mark.parametrize("how", ["immediate", "fast"])
def test_no_job_is_lost_or_doubled_when_the_database_restarts(
    postgres: PostgresServer, url: URL, how: str
) -> None:
    with opened(url) as first, opened(url) as second:
        stop = threading.Event()
        acknowledged: list[str] = []

        def submit(database: Database) -> None:
            while not stop.is_set():
                made = [database.submit(jobs.create_job, new_job(), 0.0) for _ in range(5)]
                acknowledged.extend(job.result().id for job in made)

        threads = [threading.Thread(target=submit, args=[d]) for d in (first, second)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            before = len(acknowledged)
            eventually(lambda count=before: len(acknowledged) > count + 50)
            postgres.stop(how)
            postgres.start()
        before = len(acknowledged)
        eventually(lambda: len(acknowledged) > before + 50)
        stop.set()
        for thread in threads:
            thread.join()
        stored = [job.id for job in first.submit(jobs.list_jobs, 10_000).result()]
        assert sorted(stored) == sorted(acknowledged)


def test_a_change_whose_connection_ends_under_it_is_made_once(
    postgres: PostgresServer, url: URL
) -> None:
    runs: list[int] = []
    with opened(url) as database:

        def create_while_cut_off(conn: Connection) -> None:
            pid = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            jobs.create_job(conn, new_job(), 0.0)
            runs.append(pid)
            if len(runs) == 1:
                postgres.execute("SELECT pg_terminate_backend(%s, 5000)", pid)

        database.submit(create_while_cut_off).result()
        assert len(database.submit(jobs.list_jobs, 10).result()) == 1
        assert len(runs) == 2


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_without_an_answer_is_not_made_twice(
    url: URL, tmp_path: Path, arrives: bool
) -> None:
    with Cutter(url, tmp_path) as cutter, opened(cutter.url) as database:
        key = ShotKey(create(database).id, 1)
        cutter.cut_next_commit(arrives=arrives)
        claimed = database.submit(claims.claim, key, "w", expiry_s=1.0, now_s=0.0).result()
        assert cutter.has_cut
        assert claimed is not None
        assert claimed.lease.attempt == 1
        assert database.submit(leases.held_by, "w").result() == [claimed.lease]


def test_callers_are_told_when_the_database_stays_away(
    postgres: PostgresServer, url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE_S", 0.2)
    with opened(url) as database:
        postgres.stop()
        try:
            with pytest.raises(StoreAway, match="cannot be reached"):
                database.submit(jobs.list_jobs, 10).result(timeout=10)
        finally:
            postgres.start()
        assert database.submit(jobs.list_jobs, 10).result() == []


def test_leases_get_one_more_when_the_database_comes_back(
    postgres: PostgresServer, url: URL
) -> None:
    renewed: list[str] = []
    first = Database.open(Postgres(url), lambda _: renewed.append("first"))
    second = Database.open(Postgres(url), lambda _: renewed.append("second"))
    postgres.stop()
    postgres.start()
    second.submit(lambda _: None).result()
    first.submit(lambda _: None).result()
    first.close()
    second.close()
    assert renewed == ["first", "second"]


class Cutter:
    """Stands between gateway and server, and cuts connections while a COMMIT is under way."""

    def __init__(self, url: URL, folder: Path) -> None:
        self._server = f"{url.query['host']}/.s.PGSQL.5432"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/.s.PGSQL.5432")
        self._listener.listen()
        self._arrives: bool | None = None
        self._threads: list[threading.Thread] = []
        self.has_cut = False
        self.url = url.update_query_dict({"host": str(folder)})

    def cut_next_commit(self, *, arrives: bool) -> None:
        """The server gets the next COMMIT, or not; its answer never comes back."""
        self._arrives = arrives

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._spawn(self._forward, client, server)
                self._spawn(self._forward_back, server, client)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(2**16):
                if self._arrives is not None and b"COMMIT\0" in data:
                    arrives, self._arrives = self._arrives, None
                    self.has_cut = True
                    client.shutdown(socket.SHUT_RDWR)  # no answer from here on
                    if arrives:
                        server.sendall(data)
                    break
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _forward_back(self, server: socket.socket, client: socket.socket) -> None:
        with server, client:
            while data := server.recv(2**16):
                with contextlib.suppress(OSError):
                    client.sendall(data)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
