"""The figures of the README are those of benchmarks/results."""

from __future__ import annotations

import json
from typing import Any

from tests.docs.blocks import ROOT


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks/results" / f"{name}.json").read_text())
    return found


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    recovery, dispatch, codecs = _result("recovery"), _result("dispatch"), _result("codecs")
    ours, theirs = (
        codecs["codecs"][name]["psnr_as_bt709_db"]
        for name in ("h264", "export_to_video, quality 5")
    )
    rows = (
        f"queued again | {recovery['queued_again_max_s']:.2f} s at most of {recovery['rounds']}",
        f"with their shots | {recovery['sessions_back_max_s']:.1f} s at most",
        f"for each shot | {dispatch['shots_per_s']:.0f} shots a second",
        f"{_result('scale')['shots']:,} shots submitted | {_result('scale')['submit_s']:.1f} s",
        f"its hash checked | {_result('download')['sync_mb_per_s']} MB/s",
        f"`export_to_video` | {ours:.1f} dB; {theirs:.1f} dB",
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in readme] == []


def test_what_no_gpu_has_measured_is_called_unmeasured() -> None:
    measured = {path.stem for path in (ROOT / "benchmarks/results").glob("engine-*.json")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert ("| svdfarm | `unmeasured` |" in readme) == (measured == {"engine-cpu"})
