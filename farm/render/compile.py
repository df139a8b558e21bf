"""Compilation of the networks, for a menu of shapes that are compiled before the first clip."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from farm.render import rewrite
from farm.render.load import Model
from farm.render.rewrite.decoder import Decoder

log = logging.getLogger(__name__)

# Each block of a network is a graph of its own code object, and each shape one more.
_GRAPH_LIMIT = 1024
# What is compiled first is not always what runs later: a second clip meets every guard.
ROUNDS = 2


@dataclass(frozen=True, order=True)
class Shape:
    """What one compiled graph is for."""

    width_px: int
    height_px: int
    frame_count: int

    def __str__(self) -> str:
        return f"{self.width_px}x{self.height_px}x{self.frame_count}"


@dataclass(frozen=True)
class Progress:
    """How far the compilation is; `left_s` is unknown until one shape is done."""

    number: int  # of the shape that is compiled now, from 1
    total: int
    shape: Shape
    left_s: float | None

    def __str__(self) -> str:
        left = "" if self.left_s is None else f", about {max(1, round(self.left_s / 60))} min left"
        return f"compiling {self.number} of {self.total} ({self.shape}){left}"


Tell = Callable[[Progress], None]


class Compiled:
    """The networks of one model, which run compiled for some shapes and as they are for others."""

    def __init__(self, model: Model, backend: str = "inductor") -> None:
        torch._dynamo.config.recompile_limit = _GRAPH_LIMIT
        torch._dynamo.config.accumulated_recompile_limit = _GRAPH_LIMIT
        assert isinstance(model.vae.decoder, Decoder), "only rewritten models are compiled"
        for module in (model.unet, *model.vae.decoder.stages):
            # Its forward, not the module: accelerate wraps forward when it offloads.
            module.forward = torch.compile(
                module.forward, fullgraph=True, dynamic=False, backend=backend
            )
        self.shapes: set[Shape] = set()

    def use(self, shape: Shape) -> AbstractContextManager[Any]:
        """For a clip of `shape`: compiled if that was warmed, and never compiled in passing."""
        if shape in self.shapes:
            return _stance("eager_on_recompile")
        log.warning(
            "engine.uncompiled",
            extra={"shape": str(shape), "compiled": ", ".join(map(str, sorted(self.shapes)))},
        )
        return _stance("force_eager")

    def warm(
        self, shapes: Iterable[Shape], render: Callable[[Shape], object], tell: Tell | None = None
    ) -> None:
        """Compile for each of `shapes` by two clips of it."""
        menu = sorted(set(shapes) - self.shapes)
        started = time.monotonic()
        for index, shape in enumerate(menu):
            if tell is not None:
                spent_s = time.monotonic() - started
                left_s = spent_s / index * (len(menu) - index) if index else None
                tell(Progress(index + 1, len(menu), shape, left_s))
            self.shapes.add(shape)
            with _stance("default"):
                for _ in range(ROUNDS):
                    render(shape)


def _stance(name: str) -> AbstractContextManager[Any]:
    return torch.compiler.set_stance(name)  # type: ignore[no-any-return]


class CompileCache:
    """What one kind of machine compiled, kept for its next process.

    A file holds code, and is trusted as the folder's owner is: it is never sent anywhere.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.bin"

    def load(self) -> bool:
        """Whether there was something that torch took."""
        try:
            saved = self.path.read_bytes()
        except OSError:
            return False
        # torch compares a checksum, and makes None of a damaged file.
        return torch.compiler.load_cache_artifacts(saved) is not None

    def save(self) -> None:
        """Keep what this process compiled; one that cannot be written costs time, not a clip."""
        saved = torch.compiler.save_cache_artifacts()
        if saved is None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A folder of several machines' may hold another process of this number.
            with tempfile.TemporaryDirectory(
                prefix=".unfinished-", dir=self.path.parent
            ) as scratch:
                unfinished = Path(scratch) / self.path.name
                unfinished.write_bytes(saved[0])
                unfinished.replace(self.path)
        except OSError as error:
            log.warning("compile.cache_unwritable", extra={"path": str(self.path), "error": error})


def cache_key(model: Model, shapes: Sequence[Shape], gpu: str) -> str:
    """The same text wherever the same code is compiled for the same networks, shapes and GPU."""
    told = {
        "gpu": gpu,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "dtype": str(model.dtype),
        "unet": dict(model.unet.config),
        "vae": dict(model.vae.config),
        "shapes": [dataclasses.astuple(shape) for shape in sorted(shapes)],
        "rewrites": _digest_rewrites(),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _digest_rewrites() -> str:
    """Of the code that is compiled."""
    assert rewrite.__file__ is not None
    digest = hashlib.sha256()
    for path in sorted(Path(rewrite.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
