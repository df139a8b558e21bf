"""What is left of a farm that has stopped: its tables, its files, and what its logs say."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from farm.gateway.collector import Collector
from farm.jobs.retention import Policy
from farm.render.probe import probe_video
from farm.store import deletion
from farm.store.bucket import BucketBlobs
from farm.store.folder import FolderBlobs
from farm.store.store import Store
from tests.chaos import history, moves
from tests.chaos.history import Event
from tests.chaos.site import Site
from tests.chaos.worker import FRAMES, SIZE_PX

Row = dict[str, Any]
_NEVER_S = 1e9
_DECODED = 25  # videos of a run: each takes a process


@dataclass(frozen=True)
class File:
    """An image or a video as it is kept."""

    size_bytes: int
    sha256: str
    seed: int | None  # of the shot that it was rendered for


@dataclass(frozen=True)
class Remains:
    """All of it."""

    events: list[Event]
    renders: list[Event]
    moves: list[moves.Move]
    jobs: dict[str, Row]
    shots: dict[tuple[str, int], Row]
    attempts: list[Row]
    files: dict[str, File]
    stray_files: int  # before a prune without grace
    files_after_prune: frozenset[str]
    undecodable: dict[str, str] = field(default_factory=dict)
    log_events: Counter[str] = field(default_factory=Counter)
    internal_errors: Counter[str] = field(default_factory=Counter)


def gather(site: Site) -> Remains:
    """Reads everything, then prunes what belongs to nothing, with the farm's own means."""
    engine = create_engine(site.url)
    with engine.connect() as conn:

        def rows(table: str) -> list[Row]:
            return [dict(row) for row in conn.execute(text(f"SELECT * FROM {table}")).mappings()]

        jobs = {row["id"]: row for row in rows("job")}
        shots = {(row["job_id"], row["number"]): row for row in rows("shot")}
        attempts = rows("attempt")
        moved = moves.read(conn)
        named = {row["video_key"] for row in shots.values()} | {
            f"images/{row['sha256']}" for row in rows("image")
        }
    engine.dispose()
    files = _files(site)
    log_events, internal_errors = _logs(site.folder)
    asyncio.run(_prune(site))
    return Remains(
        history.read(site.folder / "history.jsonl"),
        history.read(site.folder / "renders.jsonl"),
        moved,
        jobs,
        shots,
        attempts,
        files,
        len(set(files) - named),
        frozenset(_files(site)) - named,
        _decode(site, shots),
        log_events,
        internal_errors,
    )


def _files(site: Site) -> dict[str, File]:
    if site.bucket is None:
        root = site.data / "blobs"
        # Not by obstore: it does not show what was left half written.
        found = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
        return {key: _file(p.read_bytes()) for key, p in found.items() if key != "farm-id"}
    blobs = BucketBlobs(site.bucket)
    return {kept.key: _file(asyncio.run(blobs.read_whole(kept.key))) for kept in blobs.files()}


def _file(data: bytes) -> File:
    _, tagged, rest = data.rpartition(b"chaos-seed=")
    seed = int(rest.partition(b";")[0]) if tagged and b";" in rest else None
    return File(len(data), hashlib.sha256(data).hexdigest(), seed)


def _decode(site: Site, shots: dict[tuple[str, int], Row]) -> dict[str, str]:
    """What ffmpeg says against some of the videos that are named."""
    blobs = FolderBlobs(site.data / "blobs") if site.bucket is None else BucketBlobs(site.bucket)
    keys = sorted(row["video_key"] for row in shots.values() if row["video_key"])
    problems = {}
    path = site.folder / "decoded.mp4"
    for key in keys[:: max(1, len(keys) // _DECODED)]:
        try:
            path.write_bytes(asyncio.run(blobs.read_whole(key)))
            facts = probe_video(path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            problems[key] = f"{type(error).__name__}: {error}"
            continue
        if (facts.frame_count, facts.width_px, facts.height_px) != (FRAMES, SIZE_PX, SIZE_PX):
            problems[key] = str(facts)
    return problems


async def _prune(site: Site) -> None:
    database = site.url if site.postgres else None
    store = await asyncio.to_thread(Store.open, site.data, database, site.bucket)
    try:
        # Minutes later a sweep would find that these deletions were cut off.
        await store.database.write(deletion.end_claims)
        await Collector(store, None).prune(Policy(_NEVER_S, grace_s=0))
    finally:
        await asyncio.to_thread(store.close)


def _logs(folder: Path) -> tuple[Counter[str], Counter[str]]:
    said: Counter[str] = Counter()
    internal: Counter[str] = Counter()
    for path in folder.glob("*.log"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                if line.startswith(("Traceback", "Fatal", "RuntimeWarning")):
                    internal[f"{path.stem.partition('-')[0]}: {line[:80]}"] += 1
                continue
            said[event["event"]] += 1
            if event["event"] in (
                "rpc.failed",
                "publish.failed",
                "session.failed",
                "render.failed",
            ):
                raised = event.get("exception") or [{}]
                last = raised[-1] if isinstance(raised, list) else {}
                told = f"{last.get('exc_type')}: {str(last.get('exc_value'))[:100]}"
                internal[f"{event['event']} {event.get('method', '')} {told}"] += 1
    return said, internal
