"""What a model's name stands for, and its defaults, read from its folder without loading torch.

A model is one of the farm's known names (`svd`, `svd-xt`, `nano`, `tiny`) or a local folder in
diffusers' format. A folder may carry a card, `svdfarm.json`, with what diffusers' files cannot say:
the size and step count its makers recommend, and a note that is shown wherever the model is named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.jobs.params import KNOWN_MODELS, SVD, ModelInfo
from farm.render.errors import ModelInvalid, ModelUnavailable

CARD_FILE = "svdfarm.json"

# The weights in this package; farm.nano trains them.
NANO_FOLDER = Path(__file__).parents[1] / "nano" / "weights"
NANO_VERSION = 2  # counts up with every change of them

# The UNet's sample_size in both of Stability's checkpoints. It is not their size: 96 x 8 is 768
# square, and they were trained on, and StableVideoDiffusionPipeline defaults to, 1024x576.
SVD_SAMPLE_SIZE = 96


@dataclass(frozen=True)
class Card:
    """The wishes of a folder's maker; None where the folder leaves it to its configuration."""

    width_px: int | None = None
    height_px: int | None = None
    step_count: int | None = None
    note: str | None = None


def describe(model: str) -> ModelInfo:
    """The defaults of a model: a known name's own, or what a local folder's files say.

    A folder without a card: frames are the UNet's `num_frames`; the size is its `sample_size`
    (latent pixels, one number or [height, width]) times the VAE's scale, except that SVD's own 96,
    or none, means 1024x576. A size the farm does not render is returned as it is, never clamped,
    so that `farm.jobs.params.problems` names it to the user, who can then ask for another.
    """
    if model in KNOWN_MODELS:
        return KNOWN_MODELS[model]
    folder = local_folder(model)
    card = read_card(folder)
    height, width = _default_size(folder)
    return ModelInfo(
        name=folder.name,
        width_px=card.width_px or width,
        height_px=card.height_px or height,
        frame_count=_frame_count(folder),
        step_count=card.step_count or ModelInfo.step_count,
    )


def local_folder(model: str) -> Path:
    """The folder that `model` names, absolute, or ModelUnavailable."""
    folder = Path(model).expanduser().resolve()
    if not folder.is_dir():
        known = ", ".join(KNOWN_MODELS)
        raise ModelUnavailable(
            f"There is no model {model!r}: it is neither one of {known} nor a folder here. "
            "Give one of these names, or the path of a folder in diffusers' format."
        )
    return folder


def read_card(folder: Path) -> Card:
    """The folder's card, or an empty one."""
    path = folder / CARD_FILE
    if not path.exists():
        return Card()
    values = read_json(path)
    known = Card.__dataclass_fields__
    if unknown := sorted(set(values) - set(known)):
        raise ModelInvalid(
            f"{path} has the unknown key {unknown[0]!r}; allowed: {', '.join(known)}."
        )
    for key, value in values.items():
        allowed = "a text" if key == "note" else "a whole number from 1"
        right = isinstance(value, str) if key == "note" else type(value) is int and value > 0
        if not right:
            raise ModelInvalid(f"{path}: {key} is {value!r}; allowed: {allowed}.")
    return Card(**values)


def write_card(folder: Path, card: Card) -> None:
    """Put `card` into `folder`, leaving out what it does not say."""
    said = {key: value for key, value in vars(card).items() if value is not None}
    write_json(folder / CARD_FILE, said)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object the way diffusers writes its configurations."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a checkpoint, or ModelInvalid naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelInvalid(
            f"{path} is missing. The model's folder has to be in diffusers' format, "
            "as StableVideoDiffusionPipeline.save_pretrained writes it."
        ) from error
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{path} cannot be read as JSON: {error}. Copy it again.") from error
    if not isinstance(value, dict):
        raise ModelInvalid(f"{path} holds a {type(value).__name__} where a JSON object belongs.")
    return value


def _frame_count(folder: Path) -> int:
    path = folder / "unet" / "config.json"
    # 25 is diffusers' default of the same field.
    frame_count = read_json(path).get("num_frames", 25)
    if type(frame_count) is not int or frame_count < 1:
        raise ModelInvalid(
            f"{path}: num_frames is {frame_count!r}; allowed: a whole number from 1."
        )
    return frame_count


def _default_size(folder: Path) -> tuple[int, int]:
    """Height and width, px."""
    path = folder / "unet" / "config.json"
    sample_size = read_json(path).get("sample_size")
    if sample_size is None or sample_size == SVD_SAMPLE_SIZE:
        return SVD.height_px, SVD.width_px
    scale = vae_scale(folder)
    match sample_size:
        case int(side) if side > 0:
            return side * scale, side * scale
        case [int(height), int(width)] if height > 0 and width > 0:
            return height * scale, width * scale
    raise ModelInvalid(
        f"{path}: sample_size is {sample_size!r}; allowed: a whole number, or [height, width]."
    )


def vae_scale(folder: Path) -> int:
    """Picture pixels per latent pixel: each VAE level but the last halves (pipeline __init__)."""
    path = folder / "vae" / "config.json"
    levels = read_json(path).get("block_out_channels")
    if not isinstance(levels, list) or not levels:
        raise ModelInvalid(f"{path}: block_out_channels is {levels!r}; allowed: a list of numbers.")
    return int(2 ** (len(levels) - 1))
