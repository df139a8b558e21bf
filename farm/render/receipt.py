"""The receipt: everything that a clip was made from, kept inside its video (docs/RECEIPTS.md)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from farm.container.reading import Torn
from farm.container.whole import read_comment
from farm.jobs.codec import Codec
from farm.jobs.params import Fit, RenderParams
from farm.jobs.tiers import Tier
from farm.render.errors import VideoUnreadable
from farm.render.settings import ClipSettings

FORMAT = "svdfarm.receipt.v1"
_LEVELS_LIMIT = 32  # of objects and lists in each other; the farm's own have 4


@dataclass(frozen=True)
class Numerics:
    """How the clip was computed, as far as somebody chose it."""

    engine: str
    dtype: str
    forward_chunking: bool
    tier: Tier = Tier.EXACT


def model_identity(files: Mapping[str, str], numerics: Numerics) -> str:
    """The same text, 64 characters, wherever the same files are computed with in the same way.

    With a shot's image and settings it says which clip that is: what ClipInputs says, in short.
    `numerics` are those of tier exact, as a shot's tier is among its settings.
    """
    told = json.dumps([dict(files), dataclasses.asdict(numerics)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True)
class ClipInputs:
    """All that was chosen and decides a clip's pixels: equal inputs make the same clip, but for
    what the environment rounds.
    """

    image_sha256: str  # of the file as it came in, before it was fitted
    settings: ClipSettings
    model_files: Mapping[str, str]  # path in the model's folder to SHA-256
    numerics: Numerics


@dataclass(frozen=True)
class Encoding:
    """What became of the frames."""

    codec: Codec
    crf: int | None
    playback_fps: int


@dataclass(frozen=True)
class Receipt:
    """A clip's receipt. `model` is for people: its files are among the inputs."""

    inputs: ClipInputs
    model: Mapping[str, Any]
    encoding: Encoding
    environment: Mapping[str, Any]

    @property
    def params(self) -> RenderParams:
        """The settings that render this clip again."""
        return RenderParams(
            model=self.model["name"],
            tier=self.inputs.numerics.tier,
            **vars(self.inputs.settings),
            **vars(self.encoding),
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises ValueError for one of another version or other types.

        Whether its values can be rendered is `farm.render.verify.check_settings`'s to say.
        """
        try:
            if told["format"] != FORMAT:
                raise ValueError(f"its format is {told['format']!r}; known: {FORMAT}")
            inputs, encoding = told["inputs"], told["encoding"]
            settings, numerics = inputs["settings"], inputs["numerics"]
            receipt = cls(
                ClipInputs(
                    inputs["image_sha256"],
                    ClipSettings(**{**settings, "fit": Fit(settings["fit"])}),
                    inputs["model_files"],
                    Numerics(**{**numerics, "tier": Tier(numerics["tier"])}),
                ),
                told["model"],
                Encoding(**{**encoding, "codec": Codec(encoding["codec"])}),
                told["environment"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"it has other fields than {FORMAT}: {error}") from error
        for name, value, kind in _kinds(receipt):
            if not _is_of(value, kind):
                allowed = kind.__name__ if isinstance(kind, type) else kind
                raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
        return receipt


def build_receipt(
    params: RenderParams,
    inputs: ClipInputs,
    *,
    model: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> Receipt:
    """The receipt of a clip that was rendered here; `params` are resolved."""
    assert params.codec is not None
    assert params.playback_fps is not None
    encoding = Encoding(params.codec, params.crf, params.playback_fps)
    return Receipt(inputs, model, encoding, environment)


def read_receipt(path: Path) -> dict[str, Any]:
    """The receipt in a video, as it was given to `encode`, or VideoUnreadable."""
    try:
        told = read_comment(path)
        receipt = json.loads(told) if told else None
    except Torn as error:
        raise VideoUnreadable(f"{path} is no video of the farm: {error}.") from error
    except OSError as error:
        raise VideoUnreadable(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError):
        receipt = None
    if not isinstance(receipt, dict) or _is_deeper(receipt, _LEVELS_LIMIT):
        raise VideoUnreadable(
            f"{path} carries no receipt. Only videos that this farm encoded do, and other programs "
            "may drop it when they copy one."
        )
    return receipt


def _kinds(receipt: Receipt) -> Iterator[tuple[str, object, Any]]:
    """Fields with their values and types; outer ones first, and the inner ones read after that."""
    inputs, model, environment = receipt.inputs, receipt.model, receipt.environment
    yield "inputs.image_sha256", inputs.image_sha256, str
    yield "inputs.model_files", inputs.model_files, dict
    for name, sha256 in inputs.model_files.items():
        yield f"inputs.model_files.{name}", sha256, str
    parts = {"inputs.settings": inputs.settings, "inputs.numerics": inputs.numerics}
    for path, part in {**parts, "encoding": receipt.encoding}.items():
        kinds = get_type_hints(type(part))
        for name, value in vars(part).items():
            yield f"{path}.{name}", value, kinds[name]
    yield "model", model, dict
    yield "model.name", model.get("name"), str
    yield "model.revision", model.get("revision"), str | None
    yield "environment", environment, dict
    yield "environment.threads", environment.get("threads"), int | None
    yield "environment.deterministic", environment.get("deterministic"), bool | None
    yield "environment.model_offload", environment.get("model_offload"), bool | None
    yield "environment.versions", environment.get("versions", {}), dict


def _is_of(value: object, kind: Any) -> bool:
    """As isinstance, but that True is no number and 1 is a float."""
    if isinstance(value, bool):
        return kind in {bool, bool | None}
    return isinstance(value, int | float if kind is float else kind)


def _is_deeper(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in value)
