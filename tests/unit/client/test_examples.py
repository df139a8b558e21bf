"""The examples of docs/SDK.md, run as they stand but for the farm's address."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import IMAGES
from tests.unit.client.running_farm import RunningFarm

ROOT = Path(__file__).parents[3]
FENCED = re.compile(r"(?ms)^## (?P<heading>.+?)$|^```(?P<kind>\w+)\n(?P<text>.*?)^```$")
# Which videos each example leaves in out/.
SAVED = {
    "docs/SDK.md: Submit and collect": {"rocket.mp4", "chelsea.mp4"},
    "docs/SDK.md: With asyncio": {"rocket.mp4", "coffee.mp4"},
    "docs/SDK.md: A sweep over seeds": {f"rocket-{seed}.mp4" for seed in range(4)},
    "docs/SDK.md: Progress": {"rocket.mp4"},
    "docs/SDK.md: Previews": set[str](),
    "docs/SDK.md: Timeouts": set[str](),
    "docs/SDK.md: Errors": set[str](),
    "docs/SDK.md: Going on after a break": {"rocket.mp4"},
}


def examples() -> dict[str, tuple[str, str | None]]:
    """Each block of Python with the text that the next block says it prints, by its heading."""
    found: dict[str, tuple[str, str | None]] = {}
    heading = ""
    for match in FENCED.finditer((ROOT / "docs" / "SDK.md").read_text(encoding="utf-8")):
        heading = match["heading"] or heading
        where = f"docs/SDK.md: {heading}"
        if match["kind"] == "python":
            assert where not in found
            found[where] = match["text"], None
        elif match["kind"] == "text":
            found[where] = found[where][0], match["text"]
    return found


def test_every_example_is_known_here() -> None:
    assert examples().keys() == SAVED.keys()


def test_the_examples_are_typed(tmp_path: Path) -> None:
    files = [tmp_path / f"example_{n}.py" for n in range(len(SAVED))]
    for file, (source, _) in zip(files, examples().values(), strict=True):
        file.write_text(source, encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "-m", "mypy", *files], cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("where", SAVED)
def test_the_example_runs(
    where: str,
    farm: RunningFarm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, printed = examples()[where]
    monkeypatch.chdir(tmp_path)
    for name in ("rocket.jpg", "coffee.png"):
        shutil.copy(IMAGES / name, name)
    Path("frames").mkdir()
    shutil.copy(IMAGES / "chelsea.png", "frames")
    address = f'"{farm.address}"'
    here = source.replace('"127.0.0.1:50051"', address).replace("Client()", f"Client({address})")
    here = here.replace("Client(connect", f"Client({address}, connect")

    exec(compile(here, where, "exec"), {"__name__": "__main__"})

    assert address in here
    assert {path.name for path in Path().glob("out/*")} == SAVED[where]
    if printed is not None:
        assert capsys.readouterr().out == printed
