"""The page of benchmarks: figures and plots of benchmarks/results, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from website.drawing import bars

_INTRODUCTION = """\
# Benchmarks

Every figure is read from `benchmarks/results` when this page is made; the script beside it measures
it again. Workers have a fake GPU where the engine is not what is measured; all else is real.
"""
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def page() -> str:
    """A part for each file of results that this knows; each says where and when it was measured."""
    lines = [_INTRODUCTION]
    if {path.name for path in RESULTS.glob("engine-*.json")} == {"engine-cpu.json"}:
        lines += ["**No GPU has measured the engine yet**: how fast it renders is unknown.", ""]
    for part in (_dispatch, _recovery, _download, _watchers, _page, _hostile, _codecs, _engine):
        lines += [*part(), ""]
    return "\n".join(lines)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _how(script: str, found: dict[str, Any]) -> str:
    told = [f"`python -m benchmarks.{script}`", found.get("date", "")]
    if "cores" in found:
        told.append(f"{found['cores']} cores" if found["cores"] > 1 else "1 core")
    told += [found.get("database", ""), f"Python {found['python']}" if "python" in found else ""]
    return "*" + ", ".join(filter(None, told)) + ".*"


def _dispatch() -> Iterator[str]:
    found = _read("dispatch")
    yield "## Dispatch"
    yield ""
    yield (
        f"{found['shots']:,} shots to {found['workers']} workers, each from claim to done, with a "
        f"durable commit for each: **{found['shots_per_s']:.0f} shots a second**, "
        f"{found['gateway_cpu_ms_per_shot']} ms of the gateway's processor time a shot, "
        f"{found['gateway_peak_memory_mb']} MB of its memory at most. Submitted in one job in "
        f"{found['submit_s']} s. A GPU that takes ten seconds a clip needs a tenth of one a second."
    )
    yield ""
    yield bars(
        "From claim to done",
        {"half of the shots": found["claim_to_done_p50_ms"], "99 %": found["claim_to_done_p99_ms"]},
        "ms",
    )
    yield ""
    yield _how("bench_dispatch", found)


def _recovery() -> Iterator[str]:
    found = _read("recovery")
    yield "## Going on after a fault"
    yield ""
    yield f"The slowest of {found['rounds']} rounds, {found['workers']} workers."
    yield ""
    yield bars(
        "Seconds until all goes on",
        {
            "a worker killed: shot queued": found["queued_again_max_s"],
            "gateway killed: workers back": found["sessions_back_max_s"],
        },
        "s",
    )
    yield ""
    yield _how("bench_recovery", found)


def _download() -> Iterator[str]:
    found = _read("download")
    yield "## A video to disk"
    yield ""
    yield (
        f"A video of {found['size_mb']} MB over loopback, its SHA-256 checked and synced to disk; "
        f"raw is gRPC alone. `import svdfarm` takes {found['import_s']} s."
    )
    yield ""
    yield bars(
        "Downloads",
        {
            "raw gRPC": found["raw_mb_per_s"],
            "Client": found["sync_mb_per_s"],
            "AsyncClient": found["asyncio_mb_per_s"],
        },
        "MB/s",
        ours=("Client", "AsyncClient"),
    )
    yield ""
    yield _how("bench_download", found)


def _watchers() -> Iterator[str]:
    found = _read("scale")
    yield "## Watchers"
    yield ""
    yield (
        f"{found['watchers']:,} calls that watch one job cost {found['watchers_memory_mb']} MB; a "
        f"change reaches all of them in {found['lag_cancel_max_s']} s at most, and another call "
        f"waits {found['lag_call_max_s'] * 1000:.0f} ms at most beside them. A page of 100 of "
        f"{found['shots']:,} shots takes {found['page_p50_ms']:.1f} ms."
    )
    yield ""
    yield _how("bench_scale", found)


def _page() -> Iterator[str]:
    found = _read("web")
    yield "## The web page"
    yield ""
    yield (
        f"With {found['jobs']:,} jobs Chromium shows the page in {found['page_p50_s']} s "
        f"({found['page_max_s']} at most); {found['browsers']} browsers that watch cost the "
        f"gateway {found['watched_cores']} cores; a seek in a {found['video_mb']} MB video takes "
        f"{found['seek_p50_s'] * 1000:.0f} ms."
    )
    yield ""
    yield _how("bench_web", found)


def _hostile() -> Iterator[str]:
    found = _read("hostile")
    attacks = {name: told for name, told in found.items() if isinstance(told, dict)}
    yield "## An honest client beside hostile ones"
    yield ""
    yield "99 of 100 calls take at most so long while others do this:"
    yield ""
    yield bars(
        "99th percentile of a call",
        {"nobody else": attacks.pop("quiet")["p99_ms"]}
        | {name.removesuffix(" to HTTP"): told["p99_ms"] for name, told in attacks.items()},
        "ms",
    )
    yield ""
    yield _how("bench_hostile", found)


def _codecs() -> Iterator[str]:
    found = _read("codecs")
    codecs = found["codecs"]
    lossy = {n: c for n, c in codecs.items() if c["psnr_as_bt709_db"] != "lossless"}
    ours = tuple(name for name in codecs if not name.startswith("export"))
    yield "## Codecs"
    yield ""
    yield (
        f"Four photographs as clips of {found['frames']}. PSNR against the frames, decoded as "
        "browsers do; `export_to_video` is diffusers' own writer. What each is for: "
        "[codecs](../CODECS.md)."
    )
    for title, key, unit, shown in (
        ("Fidelity", "psnr_as_bt709_db", "dB", lossy),
        ("Size of a clip", "size_mb", "MB", codecs),
        ("Processor time of a clip", "cpu_s", "s", codecs),
    ):
        yield f"\n**{title}**\n"
        yield bars(title, {name: told[key] for name, told in shown.items()}, unit, ours)
    yield ""
    yield _how("bench_codecs", found)


def _engine() -> Iterator[str]:
    for path in sorted(RESULTS.glob("engine-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        gpu = found["gpu"]
        yield f"## The engine on {'a CPU' if gpu == 'cpu' else gpu}"
        yield ""
        if gpu == "cpu":
            yield "One core, float32, uncompiled; it says nothing of a GPU."
        yield "Eager is diffusers' own pipeline. [What is measured](../BENCHMARKS.md)."
        yield ""
        for one in filter(None, (found.get("tiny"), found)):
            work = one["work"]
            title = "{model}, {size}, {frame_count} frames, {step_count} steps".format(**work)
            names = {"eager": "diffusers, eager", "recipe": "diffusers, compiled"}
            clips = {names.get(kind, kind): clip_s for kind, clip_s in one["clip_s"].items()}
            yield f"**Seconds a clip: {title}**\n"
            yield bars(title, clips, "s", ours=("ours",))
            yield ""
        yield _how("bench_engine", {"date": found["runs"][-1]["date"][:10]})
        yield ""
