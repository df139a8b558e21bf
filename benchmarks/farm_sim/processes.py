"""Processor seconds of processes on this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psycopg

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(folder: Path) -> float:
    """Of a process, or with a folder below `task` of a thread, so far."""
    user, system = _stat(folder)[11:13]
    return (int(user) + int(system)) * _TICK_S


def postmaster(url: str) -> int:
    """The first process of a PostgreSQL server, which is on this machine."""
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")) as conn:
        row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(_stat(Path(f"/proc/{row[0]}"))[1])


def database_s(server: int) -> float:
    """Of every process of a server, those that have ended included."""
    folder = Path(f"/proc/{server}")
    spent = cpu_s(folder) + sum(map(int, _stat(folder)[13:15])) * _TICK_S
    for other in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(_stat(other)[1]) == server:
                spent += cpu_s(other)
    return spent


def _stat(folder: Path) -> list[str]:
    """The fields of `stat` from the third on: names may have spaces."""
    return (folder / "stat").read_text().rpartition(")")[2].split()
