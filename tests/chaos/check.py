"""The offline checker: what clients saw, and what is left of the farm, against its promises.

Nothing here asks the farm, or runs its rules: it reads a history and remains, and counts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.chaos.history import Event
from tests.chaos.moves import Move
from tests.chaos.remains import Remains, Row
from tests.chaos.table import Report, figures, recoveries
from tests.chaos.worker import Poison

FINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}
_LEGAL = {
    ("QUEUED", "RENDERING"),
    ("QUEUED", "CANCELLED"),
    ("RENDERING", "QUEUED"),
    *(("RENDERING", state) for state in FINAL),
    ("FAILED", "QUEUED"),
    ("CANCELLED", "QUEUED"),
    *((state, "DELETED") for state in FINAL),
}
_ATTEMPTS = 3  # of a shot, charged, in one round; see P5
# How a poisoned shot may end, and after how many charged attempts; faults take part in it.
_ENDINGS = {
    Poison.KILL: ({"POISON"}, _ATTEMPTS),
    Poison.SEGFAULT: ({"POISON"}, _ATTEMPTS),
    Poison.NOT_FINITE: ({"CLIP_NOT_FINITE", "WORKER_LOST", "POISON"}, 2),
    Poison.HANG: ({"NO_PROGRESS", "WORKER_LOST", "POISON"}, _ATTEMPTS),
}
_UNCHARGED = {"WORKER_DRAINED", "STORE_AWAY", "CANCELLED", "SUCCEEDED"}
_MEMORY_LIMIT_MB = 500


def check(remains: Remains) -> Report:
    """Holds the remains of a run against P1 to P7."""
    run = Run(remains)
    report = Report()
    for promise in (
        _accepted_is_durable,
        _one_ending,
        _one_whole_video,
        _same_key_same_job,
        _bounded_attempts,
        _bounded_harm,
        _what_was_seen,
        _everything_ends,
        _every_worker_works,
        _books_balance,
        _nobody_dies,
        _nothing_is_unforeseen,
        _the_harness_works,
    ):
        report.violations += promise(run)
    report.figures = figures(run, report.violations)
    report.faults = recoveries(run)
    report.logged = dict(remains.internal_errors.most_common(12))
    return report


class Run:
    """The remains with what most promises look up."""

    def __init__(self, remains: Remains) -> None:
        self.remains = remains
        self.events = remains.events
        self.moves: defaultdict[tuple[str, int], list[Move]] = defaultdict(list)
        for move in remains.moves:
            self.moves[move.shot].append(move)
        # A job that was deleted is known by its shots' last move.
        self.deleted = {m.job_id: m.at for m in remains.moves if m.after == "DELETED"}
        self.done = {
            (e["op"], e["job"])
            for e in self.events
            if e["what"] in ("ok", "unknown") and "op" in e and "job" in e
        }
        self.submits = self.calls("submit")
        self.acknowledged = {event["job"]: event for event in self.submits if event["what"] == "ok"}
        self.seeds = {
            (event["job"].removeprefix("jobs/"), index + 1): seed
            for event in self.submits
            if event["what"] == "ok"
            for index, seed in enumerate(event["seeds"])
        }

    def calls(self, op: str, *whats: str) -> list[Event]:
        """The events of calls of one kind."""
        return [e for e in self.events if e.get("op") == op and (not whats or e["what"] in whats)]

    def may_have(self, op: str, job: str) -> bool:
        """Whether somebody may have done this to a job."""
        return (op, job) in self.done

    def may_be_gone(self, job: str) -> bool:
        """Whether somebody may have deleted a job."""
        return self.may_have("delete", job) or bool(self.calls("prune", "invoke"))


def _accepted_is_durable(run: Run) -> Iterator[str]:
    """P1: each acknowledged job is there as it was sent, with its images, unless it was deleted."""
    for name, event in run.acknowledged.items():
        job_id = name.removeprefix("jobs/")
        if job_id not in run.remains.jobs:
            if not (job_id in run.deleted and run.may_be_gone(name)):
                yield f"P1 lost: {name} was acknowledged and is not there"
            continue
        for index, seed in enumerate(event["seeds"]):
            row = run.remains.shots.get((job_id, index + 1))
            if row is None or _params(row)["seed"] != seed:
                yield f"P1 changed: shot {index + 1} of {name} is not what was sent"
            elif (key := f"images/{row['image_sha256']}") not in run.remains.files:
                yield f"P1 image lost: {key} of {name}"
            elif run.remains.files[key].sha256 != row["image_sha256"]:
                yield f"P1 image torn: {key} of {name}"
    failed = {e["request_id"] for e in run.calls("submit", "fail")}
    possible = {e["request_id"] for e in run.calls("submit", "ok", "unknown")}
    for row in run.remains.jobs.values():
        if row["request_id"] in failed - possible:
            yield f"P1 refused but there: jobs/{row['id']}"


def _one_ending(run: Run) -> Iterator[str]:
    """P2: moves follow the one table of what may follow what; endings are final."""
    for (job_id, number), moves in run.moves.items():
        shot = f"jobs/{job_id}/shots/{number}"
        state, attempt = "QUEUED", 0
        for move in moves:
            attempt += move.after == "RENDERING"
            step = (move.before, move.after)
            if move.before != state or step not in _LEGAL:
                yield f"P2 move: {shot} was {state}, then {move.before} to {move.after}"
            if move.attempt != attempt:
                yield f"P2 attempt: {shot} {step} says {move.attempt}, it is the {attempt}."
            if step in (("FAILED", "QUEUED"), ("CANCELLED", "QUEUED")) and not run.may_have(
                "requeue", f"jobs/{job_id}"
            ):
                yield f"P2 ended twice: {shot} left {move.before} and nobody asked for it"
            if move.after == "CANCELLED" and not run.may_have("cancel", f"jobs/{job_id}"):
                yield f"P2 cancelled by nobody: {shot}"
            if move.after == "DELETED" and not run.may_be_gone(f"jobs/{job_id}"):
                yield f"P2 deleted by nobody: {shot}"
            state = move.after
        row = run.remains.shots.get((job_id, number))
        if (row["state"] if row else "DELETED") != state:
            yield f"P2 last move: {shot} is {row and row['state']}, its last move was to {state}"


def _one_whole_video(run: Run) -> Iterator[str]:
    """P3: each SUCCEEDED names one whole file, of its own shot; nothing else is kept."""
    names: Counter[str] = Counter()
    for (job_id, number), row in run.remains.shots.items():
        shot = f"jobs/{job_id}/shots/{number}"
        if row["state"] != "SUCCEEDED":
            if row["video_key"]:
                yield f"P3 video of none: {shot} is {row['state']} and names {row['video_key']}"
            continue
        names[row["video_key"]] += 1
        file = run.remains.files.get(row["video_key"])
        if file is None:
            yield f"P3 video lost: {shot} names {row['video_key']}"
        elif (file.sha256, file.size_bytes) != (row["video_sha256"], row["video_size_bytes"]):
            yield f"P3 video torn: {shot} {row['video_key']}"
        elif file.seed != _params(row)["seed"]:
            yield f"P3 video of another shot: {shot} has that of seed {file.seed}"
    yield from (f"P3 shared video: {key}" for key, n in names.items() if n > 1)
    yield from (f"P3 undecodable: {key}: {why}" for key, why in run.remains.undecodable.items())
    yield from (f"P3 orphan: {key}" for key in sorted(run.remains.files_after_prune))


def _same_key_same_job(run: Run) -> Iterator[str]:
    """P4: a request_id names one job while that is kept; other content is refused."""
    first: dict[str, Event] = {}
    for event in run.calls("submit", "ok"):
        known = first.get(event["request_id"])
        if known is not None and known["job"].removeprefix("jobs/") not in run.deleted:
            if event["job"] != known["job"]:
                yield f"P4 second job: {event['request_id']} made {known['job']}, {event['job']}"
            elif event["name"] != known["name"]:
                yield f"P4 other content: {event['request_id']} was accepted for {event['job']}"
        if known is None or known["job"] != event["job"]:
            first[event["request_id"]] = event
    ids = Counter(row["request_id"] for row in run.remains.jobs.values())
    yield from (f"P4 twice there: {request}" for request, n in ids.items() if n > 1)
    asked = {event["request_id"] for event in run.submits}
    probes = {e["job"].removeprefix("jobs/") for e in run.events if e["what"] == "probed"}
    for row in run.remains.jobs.values():
        if row["request_id"] not in asked and row["id"] not in probes:
            yield f"P4 asked for by nobody: jobs/{row['id']}"


def _bounded_attempts(run: Run) -> Iterator[str]:
    """P5: so many attempts, and no failure but that of a shot that kills its worker."""
    charged: Counter[tuple[str, int]] = Counter()
    for row in run.remains.attempts:
        lost_unbegun = row["outcome"] == "WORKER_LOST" and row["start_time_s"] is None
        smaller = row["outcome"] == "OUT_OF_MEMORY"  # it is tried again with a smaller profile
        if row["outcome"] not in _UNCHARGED and not lost_unbegun and not smaller:
            charged[row["job_id"], row["shot_number"]] += 1
    for (job_id, number), row in run.remains.shots.items():
        shot = f"jobs/{job_id}/shots/{number}"
        requeued = run.may_have("requeue", f"jobs/{job_id}")
        if charged[job_id, number] > _ATTEMPTS and not requeued:
            yield f"P5 attempts: {shot} had {charged[job_id, number]}"
        bucket = _params(row)["motion_bucket_id"]
        endings, enough = _ENDINGS.get(bucket, ({"POISON"}, _ATTEMPTS))
        if row["state"] == "FAILED" and row["error_reason"] not in endings:
            yield f"P5 failed: {shot}: {row['error_reason']}: {row['error_message']}"
        if row["state"] == "FAILED" and charged[job_id, number] < enough:
            yield f"P5 given up: {shot} after {charged[job_id, number]} charged attempts"
        if row["state"] == "SUCCEEDED" and bucket in _ENDINGS:
            yield f"P5 impossible: {shot} has {Poison(bucket).name} and succeeded"


def _bounded_harm(run: Run) -> Iterator[str]:
    """P7: the gateway's memory."""
    for event in run.events:
        if event["what"] == "ended" and event["peak_mb"] > _MEMORY_LIMIT_MB:
            yield f"P7 memory: {event['name']} had {event['peak_mb']} MB"


def _what_was_seen(run: Run) -> Iterator[str]:
    """What clients were told is what happened, and what they download is what was promised."""
    ended = {(move.shot, move.attempt, move.after): move for move in run.remains.moves}
    for event in run.events:
        if event["what"] != "seen":
            continue
        _, job_id, _, number = event["shot"].split("/")
        move = ended.get(((job_id, int(number)), event["attempt"], event["state"]))
        if move is None:
            yield f"P2 told and never so: {event['shot']} {event['state']}"
        elif event["sha256"] != move.sha256:
            yield f"P3 told another video: {event['shot']}"
    for event in run.calls("download", "fail", "unknown"):
        gone = event.get("refused") == "NotFound" and event["shot"].split("/")[1] in run.deleted
        if not gone and "Unreachable" not in event["error"]:
            yield f"P3 download: {event['shot']}: {event['error']}"
    for event in run.calls("watch", "ok"):
        if event.get("left") or run.may_have("requeue", event["job"]):
            continue
        behind = {s: state for s, state in event["shots"].items() if state not in FINAL}
        if event.get("state") not in FINAL or behind:
            yield f"P2 watch ended early: {event['job']} {event.get('state')} {behind}"
    for event in run.calls("watch", "fail"):
        if (
            event.get("refused") != "NotFound"
            or event["job"].removeprefix("jobs/") not in run.deleted
        ):
            yield f"P2 watch: {event['job']}: {event['error']}"


def _everything_ends(run: Run) -> Iterator[str]:
    """P2: once faults end, so does each job, and each stream that waits for one."""
    for event in run.events:
        if event["what"] == "settled":
            for job, state in event["unsettled"].items():
                rows = {k[1]: r for k, r in run.remains.shots.items() if f"jobs/{k[0]}" == job}
                states = Counter(row["state"] for row in rows.values())
                yield f"P2 never ended: {job} {state} {dict(states)}"
            yield from (f"P7 stuck client: {name}" for name in event["stuck"])


def _every_worker_works(run: Run) -> Iterator[str]:
    """After the faults each worker that is there renders again."""
    for event in run.events:
        if event["what"] == "probed":
            at_work = {
                move.worker
                for move in run.remains.moves
                if move.after == "SUCCEEDED" and f"jobs/{move.job_id}" == event["job"]
            }
            for worker in sorted(set(event["workers"]) - at_work):
                yield f"idle: {worker} is there and got nothing of {event['job']}"


def _books_balance(run: Run) -> Iterator[str]:
    """A job's counters, state and attempts are those of its shots."""
    by_job: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (job_id, _), row in run.remains.shots.items():
        by_job[job_id][row["state"]] += 1
    for job_id, row in run.remains.jobs.items():
        counted = {
            state: row[f"{state.lower()}_count"] for state in [*FINAL, "QUEUED", "RENDERING"]
        }
        if Counter({s: n for s, n in counted.items() if n}) != by_job[job_id]:
            yield f"books: jobs/{job_id} counts {counted}, has {dict(by_job[job_id])}"
    attempts: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in run.remains.attempts:
        attempts[row["job_id"], row["shot_number"]].append(row)
    for key, row in run.remains.shots.items():
        outcomes = [a["outcome"] for a in sorted(attempts[key], key=lambda a: a["number"])]
        if len(outcomes) != row["attempt_count"]:
            yield f"books: {key} says {row['attempt_count']} attempts and has {outcomes}"
        if row["state"] in FINAL and None in outcomes:
            yield f"books: {key} is {row['state']} with an open attempt {outcomes}"
        if (row["state"] == "SUCCEEDED") != (outcomes[-1:] == ["SUCCEEDED"]):
            yield f"books: {key} is {row['state']} after {outcomes}"


def _nobody_dies(run: Run) -> Iterator[str]:
    """No program of the farm ends but by a signal of ours, a start without its store apart."""
    poisoned = {
        event["pid"]
        for event in run.remains.renders
        if event["what"] == "poisoned" and event["poison"] in ("KILL", "SEGFAULT")
    }
    for event in run.events:
        if event["what"] != "exit" or event["killed"] or event["pid"] in poisoned:
            continue
        if event["was_ready"] or event["name"].startswith("worker"):
            yield f"died: {event['name']} with code {event['code']}"
    for event in run.events:
        if event["what"] == "ended" and event["code"] not in (0, -15):
            yield f"died: {event['name']} stopped with code {event['code']}"
        if event["what"] == "away":
            yield f"died: {event['name']} was not back within {event['for_s']:.0f} s"


def _nothing_is_unforeseen(run: Run) -> Iterator[str]:
    """No fault is told as an internal error: those are the farm's own."""
    for what, n in run.remains.internal_errors.items():
        if what.partition(" ")[0] in ("rpc.failed", "publish.failed", "session.failed"):
            yield f"unforeseen: {n} x {what}"


def _the_harness_works(run: Run) -> Iterator[str]:
    """A fault that could not be staged proves nothing."""
    yield from (f"harness: {e['error']}" for e in run.events if e["what"] == "harness")


def _params(row: Row) -> Row:
    params: Row = row["params"] if isinstance(row["params"], dict) else json.loads(row["params"])
    return params
