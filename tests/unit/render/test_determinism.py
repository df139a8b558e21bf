"""Each process of these is one of its own, as the mode is a process's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RENDERS = """
import hashlib, json, sys, torch
from pathlib import Path
from PIL import Image
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.determinism import use_determinism
from farm.render.engine import Engine
from farm.render.load import load

use_determinism(True)
torch.set_num_threads(1)
engine = Engine(load("tiny", device="cpu", cache_dir=Path(sys.argv[1])))
picture = Image.radial_gradient("L").convert("RGB")
given = RenderParams(width_px=64, height_px=64, frame_count=3, step_count=4)
wanted = resolve(given, TINY, seed=5)
other = resolve(RenderParams(width_px=72, height_px=64, frame_count=2, step_count=1), TINY, seed=6)
told = []
for params in (wanted, wanted, other, wanted):
    frames = engine.render(picture, params).frames
    told.append(hashlib.sha256(frames.tobytes()).hexdigest())
print(json.dumps([told, engine.environment()["deterministic"]]))
"""

REFUSED = """
import torch
from farm.render.determinism import is_deterministic, use_determinism

def scatter():
    torch.zeros(4).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))

use_determinism(True)
assert is_deterministic()
assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
try:
    scatter()
except RuntimeError as error:
    print(error)
use_determinism(False)
scatter()
"""


def run(code: str, *args: object) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def test_a_clip_is_the_same_each_time_in_every_process(folder: Path, cache_dir: Path) -> None:
    runs = [json.loads(run(RENDERS, cache_dir)) for _ in range(2)]

    (told, deterministic), (again, _) = runs
    assert deterministic is True
    first, second, other, third = told
    assert first == second == third != other
    assert again == told


def test_an_operation_whose_order_is_anybodys_is_refused_while_the_mode_lasts() -> None:
    assert "put_" in run(REFUSED)


def test_clips_say_whether_they_were_made_so(
    capsys: pytest.CaptureFixture[str], model: object
) -> None:
    from farm.render.engine import Engine

    assert Engine(model).environment()["deterministic"] is False  # type: ignore[arg-type]
