"""The engine's view of a clip's settings: all of them set, all of them possible."""

from __future__ import annotations

from dataclasses import dataclass

from farm.jobs.params import Fit, RenderParams, problems
from farm.render.errors import ParamsRejected


@dataclass(frozen=True)
class ClipSettings:
    """What decides a clip's pixels, next to the model and the picture."""

    width_px: int
    height_px: int
    frame_count: int
    step_count: int
    fps: int
    motion_bucket_id: int
    noise_aug_strength: float
    min_guidance_scale: float
    max_guidance_scale: float
    decode_chunk_size: int
    seed: int
    fit: Fit


def settle(params: RenderParams, vae_scale: int) -> ClipSettings:
    """`params`, which come from farm.jobs.params.resolve, or ParamsRejected naming every fault.

    An unset decode_chunk_size means all frames together, which is diffusers' default too.
    """
    if found := list(problems(params)):
        raise ParamsRejected("; ".join(str(problem) for problem in found) + ".")
    values = {name: getattr(params, name) for name in ClipSettings.__dataclass_fields__}
    values["decode_chunk_size"] = values["decode_chunk_size"] or params.frame_count
    if unset := [name for name, value in values.items() if value is None]:
        raise ParamsRejected(
            f"{', '.join(unset)} is not set. Fill in the defaults with farm.jobs.params.resolve."
        )
    for name in ("noise_aug_strength", "min_guidance_scale", "max_guidance_scale"):
        values[name] = float(values[name])  # 1 is 1.0: one clip, and one text in receipts
    for name in ("width_px", "height_px"):
        # The pipeline rounds down to the VAE's scale, silently.
        if values[name] % vae_scale:
            raise ParamsRejected(
                f"{name} is {values[name]}; allowed with this model: multiples of {vae_scale}."
            )
    return ClipSettings(**values)
