"""A video rendered once more from its receipt, and compared."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.jobs.params import Problem, Range, problems
from farm.render.compare import Comparison, compare
from farm.render.errors import InputsDiffer, ParamsRejected, VideoBroken
from farm.render.probe import probe_video
from farm.render.receipt import Receipt
from farm.render.renderer import OnStep, Renderer

# A clip of a machine with more cores than this one is rendered with as many threads as there:
# sums round as they were split. With very many, OpenMP ends the process.
THREADS = Range(1, max(256, os.cpu_count() or 1))


@dataclass(frozen=True)
class Difference:
    """A part of the environment: what the receipt says, and what is here."""

    field: str
    receipt: Any
    here: Any


@dataclass(frozen=True)
class Verdict:
    """What rendering again has shown."""

    comparison: Comparison
    differences: tuple[Difference, ...]


def verify(
    video: Path, receipt: Receipt, image: bytes, renderer: Renderer, on_step: OnStep | None = None
) -> Verdict:
    """Render the clip of `receipt` with `renderer` and compare it with `video`, which carries it.

    Raises InputsDiffer where it is another clip that can be rendered here, VideoBroken where the
    video is not the clip of its receipt, and as rendering does.
    """
    settings = receipt.inputs.settings
    facts = probe_video(video)
    wanted = (settings.frame_count, settings.width_px, settings.height_px)
    if (facts.frame_count, facts.width_px, facts.height_px) != wanted:
        raise VideoBroken(
            f"{video} has {facts.frame_count} frames of {facts.width_px}x{facts.height_px}; its "
            f"receipt is of {wanted[0]} of {wanted[1]}x{wanted[2]}: something has cut it"
        )
    rendered = renderer.render(image, receipt.params, on_step)
    _check_inputs(receipt, rendered.receipt)
    with tempfile.TemporaryDirectory(prefix="svdfarm-verify-") as folder:
        again = Path(folder) / f"again.{receipt.params.container}"
        rendered.write(again)
        comparison = compare(video, again, receipt.encoding.codec, facts)
    differences = _differences(receipt.environment, rendered.receipt.environment)
    return Verdict(comparison, tuple(differences))


def check_settings(receipt: Receipt) -> None:
    """Raises ParamsRejected unless the clip's settings and threads are ones that can be had."""
    found = list(problems(receipt.params))
    threads = receipt.environment.get("threads")
    if threads is not None and not THREADS.admits(threads):
        found.append(Problem("threads", str(threads), str(THREADS)))
    if found:
        raise ParamsRejected("; ".join(map(str, found)))


def check_model(receipt: Receipt, files: Mapping[str, str]) -> None:
    """Raises InputsDiffer unless these are the files that the clip was rendered with."""
    wanted = receipt.inputs.model_files
    wrong = sorted(name for name in wanted.keys() | files if wanted.get(name) != files.get(name))
    if wrong:
        name = wrong[0]
        raise InputsDiffer(
            f"the model here is not the {receipt.model['name']} of the video: {len(wrong)} of its "
            f"files differ, the first {name}, which has SHA-256 {files.get(name, '-')} here and "
            f"{wanted.get(name, '-')} in the receipt"
        )


def _check_inputs(receipt: Receipt, here: Receipt) -> None:
    check_model(receipt, here.inputs.model_files)
    for field, told in vars(receipt.inputs).items():
        if told != (found := getattr(here.inputs, field)):
            raise InputsDiffer(f"{field} is {found} here and {told} in the receipt")


def _differences(told: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[Difference]:
    told, here = _flat(told), _flat(here)
    for field in sorted(told.keys() | here.keys()):
        if told.get(field) != here.get(field):
            yield Difference(field, told.get(field), here.get(field))


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    """`versions` beside the rest."""
    versions = environment.get("versions", {})
    return {**versions, **{k: v for k, v in environment.items() if k != "versions"}}
