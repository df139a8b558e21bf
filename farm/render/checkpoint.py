"""Writing a model of our own as a folder that diffusers, and the farm, can load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import EulerDiscreteScheduler

from farm.render.folder import Card, write_card, write_json
from farm.render.quiet import no_progress_bars
from farm.render.weights import PIPELINE


def write_checkpoint(folder: Path, parts: Mapping[str, Any], card: Card) -> None:
    """Write the five components, their index and the card into `folder`."""
    with no_progress_bars():
        for name, part in parts.items():
            part.save_pretrained(folder / name)
            _forget_origin(folder / name)
    libraries = dict.fromkeys(("image_encoder", "feature_extractor"), "transformers")
    classes = {name: type(part).__name__.removesuffix("Pil") for name, part in parts.items()}
    index = {name: [libraries.get(name, "diffusers"), classes[name]] for name in parts}
    write_json(folder / "model_index.json", {"_class_name": PIPELINE, **index})
    write_card(folder, card)


def _forget_origin(component: Path) -> None:
    """A part that was loaded keeps the path of that folder, which is nobody else's."""
    for config in component.glob("*config.json"):
        settings = json.loads(config.read_text(encoding="utf-8"))
        if settings.pop("_name_or_path", None) is not None:
            write_json(config, settings)


def make_scheduler() -> Any:
    """Stability's own setting (scheduler/scheduler_config.json of both checkpoints)."""
    return EulerDiscreteScheduler(  # type: ignore[no-untyped-call]
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        interpolation_type="linear",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
    )
