"""A real PostgreSQL for the tests: the programs come from the wheel `pgserver`."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from sqlalchemy import URL

from farm.store.database import Database
from farm.store.postgres import Postgres, read_url
from tests.reaper import reaper

_NOBODY = 65534
_TEMPLATE = "migrated"
_END = 'kill -QUIT $(head -n 1 "$1/data/postmaster.pid"); rm -rf "$1"'


class PostgresServer:
    """A server on a Unix socket in a temporary folder; made by `running_postgres`."""

    def __init__(self, folder: Path, bin_folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._bin = bin_folder
        self._durable = durable
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Starts it, for the first time or again."""
        options = f"-c listen_addresses='' -k {self._folder}"
        if not self._durable:
            options += " -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stops it, as a crash does unless `mode` says otherwise."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def init(self) -> None:
        """Makes its data and starts it, with a database that has the farm's tables."""
        self._run("initdb", "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C")
        self.start()
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        Database.open(Postgres(self.url(_TEMPLATE))).close()

    def url(self, database: str) -> URL:
        """Where a database is."""
        return read_url(f"postgresql://postgres@/{database}?host={self._folder}")

    def program(self, name: str) -> Path:
        """One of PostgreSQL's programs, of the server's own version."""
        return self._bin / name

    def execute(self, statement: str, *values: object) -> None:
        """Runs one statement as the server's owner."""
        with psycopg.connect(
            f"host={self._folder} user=postgres dbname=postgres", autocommit=True
        ) as conn:
            conn.execute(statement.encode(), values or None)

    @contextlib.contextmanager
    def database(self, template: str = _TEMPLATE) -> Iterator[URL]:
        """A database for one test, gone afterwards."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to run as root.
        other = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
        command = [self._bin / program, "-D", self._folder / "data", *arguments]
        # Into a file, not a pipe: the server that pg_ctl starts would hold it open.
        with (self._folder / "commands").open("a+") as told:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                cwd=self._folder,
                check=False,
                timeout=60,
                **(other if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
            )
            told.seek(0)
            assert done.returncode == 0, f"no PostgreSQL for the tests: {told.read()}"


@contextlib.contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A new server, which with `durable` survives a power cut, and is slower.

    Fails where the wheel is missing or its programs do not run.
    """
    wheel = importlib.util.find_spec("pgserver")
    assert wheel is not None, (
        "the tests need PostgreSQL from the wheel pgserver: run make setup, or pip install pgserver"
    )
    assert wheel.origin is not None
    package = Path(wheel.origin).parent
    # Not below pytest's folder: a socket's path is short, and the user nobody has to get there.
    folder = Path(tempfile.mkdtemp(prefix="farm-pg-"))
    try:
        bin_folder = package / "pginstall" / "bin"
        if os.geteuid() == 0:  # nobody may not be able to read this virtual environment
            for part in (package / "pginstall", package.parent / "pgserver.libs"):
                shutil.copytree(part, folder / part.relative_to(package.parent))
            bin_folder = folder / "pgserver" / "pginstall" / "bin"
            os.chown(folder, _NOBODY, _NOBODY)
        server = PostgresServer(folder, bin_folder, durable=durable)
        with reaper(_END, folder):
            server.init()
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder)
