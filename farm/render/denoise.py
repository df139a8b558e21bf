"""From noise to the latents of a clip: Euler steps over the UNet's predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from farm.render.condition import Conditioning
from farm.render.errors import RenderCancelled
from farm.render.load import Model
from farm.render.settings import ClipSettings

OnStep = Callable[[int, int], None]
Cancelled = Callable[[], bool]
Look = Callable[[Tensor], None]


def draw_latents(
    model: Model, settings: ClipSettings, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """The noise to start from, (1, frame, channel, height, width), at the schedule's first sigma.

    The clip's second random draw, on the CPU in the model's dtype as the pipeline draws it. Sets
    the scheduler's timesteps, which also clears what the last clip left in it.
    """
    scheduler = model.scheduler
    with warnings.catch_warnings():
        # numpy 2 and torch about each other, at diffusers' np.array(tensor); nothing of ours.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        scheduler.set_timesteps(settings.step_count, device=model.device)
    # The pipeline looks the first index up inside the loop, where it makes the host wait.
    scheduler.set_begin_index(scheduler.index_for_timestep(scheduler.timesteps[0]))
    scale, channels = model.vae_scale, model.unet.config.in_channels // 2
    shape = (
        1,
        settings.frame_count,
        channels,
        settings.height_px // scale,
        settings.width_px // scale,
    )
    noise = torch.randn(shape, generator=generator, dtype=model.dtype).to(model.device, dtype)
    latents: Tensor = noise * scheduler.init_noise_sigma
    return latents


def denoise(
    model: Model,
    latents: Tensor,
    given: Conditioning,
    on_step: OnStep,
    cancelled: Cancelled,
    look: Look | None = None,
    full_every: int = 1,
) -> Tensor:
    """The clip's latents, (1, frame, channel, height, width), in the dtype of the noise.

    All arithmetic around the UNet has that dtype: the pipeline's is the model's, and in half
    precision each step then rounds the clip.
    Every `full_every`-th step is a full one; the others take its deep features over.
    Nothing in the loop reads a value back from the device. After every step it calls `look` with
    what the clip's latents are predicted to become, then `on_step(done, total)`; raises
    RenderCancelled when `cancelled()` says so, asked before every step and after the last.
    """
    scheduler = model.scheduler
    timesteps = scheduler.timesteps
    deep: Tensor | None = None
    for index, timestep in enumerate(timesteps):
        _heed(cancelled, index, len(timesteps))
        if index % full_every == 0:
            deep = None
        prediction, deep = _predict(model, latents, timestep, given, deep)
        stepped = scheduler.step(prediction, timestep, latents)
        latents = stepped.prev_sample
        if look is not None:
            look(stepped.pred_original_sample)
        on_step(index + 1, len(timesteps))
    _heed(cancelled, len(timesteps), len(timesteps))
    return latents


def _heed(cancelled: Cancelled, done: int, total: int) -> None:
    if cancelled():
        raise RenderCancelled(f"Cancelled after step {done} of {total}.")


def _predict(
    model: Model, latents: Tensor, timestep: Tensor, given: Conditioning, deep: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The guided v-prediction, (1, frame, channel, height, width), and the UNet's deep features."""
    sample = latents if given.guidance is None else torch.cat([latents] * 2)
    sample = model.scheduler.scale_model_input(sample, timestep)
    sample = torch.cat([sample.to(model.dtype), given.image_latents], dim=2)
    predicted, deep = model.unet(
        sample,
        timestep,
        encoder_hidden_states=given.embedding,
        added_time_ids=given.time_ids,
        deep=deep,
    )
    prediction: Tensor = predicted.to(latents.dtype)
    if given.guidance is None:
        return prediction, deep
    unconditional, conditional = prediction.chunk(2)
    return unconditional + given.guidance * (conditional - unconditional), deep
