"""What `farm verify` does: find image and model of each video, render it again, tell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.cli import as_json as json_lines
from farm.cli.exits import CommandFailed, Exit
from farm.cli.in_process import load_renderer, note, steps
from farm.cli.tables import printable
from farm.jobs.params import KNOWN_MODELS

if TYPE_CHECKING:
    from farm.render.receipt import Receipt
    from farm.render.renderer import EngineRenderer
    from farm.render.verify import Verdict

Fetch = Callable[[str], bytes]  # an image by its SHA-256


class _Models:
    """The renderer of the last video: the next one mostly takes the same."""

    def __init__(self, model: str | None, device: str) -> None:
        self._model = model
        self._device = device
        self._key: object = None
        self._renderer: EngineRenderer | None = None

    def renderer_of(self, receipt: Receipt) -> EngineRenderer:
        """A renderer of the receipt's model, in its numerics. Raises RenderError."""
        from farm.render import cpu

        model, numerics = receipt.model, receipt.inputs.numerics
        threads = receipt.environment.get("threads")
        key = (model, numerics, receipt.environment.get("model_offload"))
        if self._renderer is not None and key == self._key:
            if threads is not None:
                cpu.use_threads(threads)
            return self._renderer
        self._renderer = None  # two models may not fit
        self._renderer = load_renderer(
            self._model or _name(receipt),
            device=self._device,
            dtype=numerics.dtype,
            engine=numerics.engine,
            model_offload=bool(receipt.environment.get("model_offload")),
            forward_chunking=numerics.forward_chunking,
            memory="fast",
            deterministic=bool(receipt.environment.get("deterministic")),
            threads=threads,
            revision=model.get("revision"),
        )
        self._key = key
        return self._renderer


def verify(
    videos: Sequence[Path],
    image: Path | None,
    model: str | None,
    *,
    device: str,
    as_json: bool,
    fetch: Fetch,
) -> Exit:
    """Verifies each video and prints what was found; the exit code tells of the worst."""
    from farm.render.errors import RenderError

    models = _Models(model, device)
    worst = Exit.SUCCEEDED
    for video in videos:
        try:
            verdict = _verify(video, image, models, fetch)
        except (RenderError, CommandFailed, OSError) as error:
            if as_json:
                told = {"event": "not_verified", "path": str(video), "message": str(error)}
                print(json_lines.line(told), flush=True)  # noqa: T201
            else:
                note(f"error: {video}: {_printable(str(error))}")
            worst = Exit.REFUSED
            continue
        if not verdict.comparison.identical and worst is not Exit.REFUSED:
            worst = Exit.VIDEO_DIFFERS
        _show(video, verdict, as_json=as_json)
    return worst


def _verify(video: Path, image: Path | None, models: _Models, fetch: Fetch) -> Verdict:
    from farm.render.receipt import Receipt, read_receipt
    from farm.render.verify import check_model, check_settings, verify

    try:
        receipt = Receipt.from_json(read_receipt(video))
    except ValueError as error:
        raise CommandFailed(f"its receipt cannot be used: {error}") from error
    check_settings(receipt)
    picture = _image(receipt.inputs.image_sha256, image, fetch)
    renderer = models.renderer_of(receipt)
    check_model(receipt, renderer.engine.model.provenance.files)
    with steps(video.name) as on_step:
        return verify(video, receipt, picture, renderer, on_step)


def _image(sha256: str, given: Path | None, fetch: Fetch) -> bytes:
    """The image's bytes, which have this SHA-256."""
    if given is None:
        try:
            return fetch(sha256)
        except CommandFailed as error:
            raise CommandFailed(
                f"the image it was made from has SHA-256 {sha256}: {error}; "
                "or give the image with --image"
            ) from error
    data = given.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CommandFailed(
            f"{given} has SHA-256 {found}; the image it was made from has {sha256}. Give that one"
        )
    return data


def _name(receipt: Receipt) -> str:
    name = str(receipt.model["name"])
    if name not in KNOWN_MODELS:
        raise CommandFailed(f"it was made with a local model called {name}: give --model PATH")
    return name


def _show(video: Path, verdict: Verdict, *, as_json: bool) -> None:
    found = verdict.comparison
    if as_json:
        print(json_lines.line({"path": str(video), **_plain(verdict)}), flush=True)  # noqa: T201
        return
    if found.identical:
        lines = [f"{video}: identical"]
    else:
        frame = f"frame {found.worst_frame} {found.worst_psnr_db:.2f} dB"
        lines = [f"{video}: differs, PSNR {found.psnr_db:.2f} dB, the worst {frame}"]
    if verdict.differences:
        lines += [
            printable(f"  {d.field}: {d.receipt} in the receipt, {d.here} here")
            for d in verdict.differences
        ]
    elif not found.identical:
        lines.append("  nothing that the receipt tells of its environment differs here")
    print("\n".join(lines), flush=True)  # noqa: T201


def _printable(told: str) -> str:
    """An error, which may quote a receipt: no line of it can pass for a verdict."""
    return "\n  ".join(map(printable, told.splitlines()))


def _plain(verdict: Verdict) -> dict[str, Any]:
    found = verdict.comparison
    return {
        "event": "verified",
        "identical": found.identical,
        "psnr_db": None if math.isinf(found.psnr_db) else found.psnr_db,
        "worst_frame": None if found.identical else found.worst_frame,
        "worst_psnr_db": None if found.identical else found.worst_psnr_db,
        "differences": {
            d.field: {"receipt": d.receipt, "here": d.here} for d in verdict.differences
        },
    }
