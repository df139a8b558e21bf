"""Training, a few steps of it: the objective against diffusers' sampler, and going on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from farm.nano import autoencoder, closed_form, denoiser
from farm.nano.denoiser import STAGES, Conditioned, Shape, Stage, stage_at, train_unet, v_target
from farm.nano.parts import make_vae
from farm.nano.photographs import paths, pyramid
from farm.nano.pictures import Pictures, draw
from farm.render.checkpoint import make_scheduler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    rng = np.random.default_rng(5)
    return Pictures([pyramid(draw(rng)) for _ in range(4)])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "BATCH", 2)
    monkeypatch.setattr(autoencoder, "START_PICTURES", 8)
    monkeypatch.setattr(denoiser, "STRIPS_AT_START", 1)
    monkeypatch.setattr(denoiser, "STAGES", (Stage(1.0, 0.7, (Shape(1, 3, 32, 32),)),))


def silent(text: str) -> None:
    """Says nothing."""


# diffusers' own, of numpy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_target_is_what_makes_the_sampler_find_the_clean_sample() -> None:
    scheduler = make_scheduler()
    scheduler.set_timesteps(10)
    clean, noise = torch.randn(2, 1, 3, 4, 8, 8)
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1], strict=True):
        noised = clean + sigma * noise
        found = scheduler.step(v_target(clean, noised, sigma), timestep, noised)
        # At sigma 700 float32 has some 700 * 2^-24 left.
        assert torch.allclose(found.pred_original_sample, clean, atol=5e-4)


def test_the_closed_form_start_already_shows_the_picture(pictures: Pictures) -> None:
    torch.manual_seed(0)
    vae = make_vae()
    originals = autoencoder.batch(pictures, 32, np.random.default_rng(0))
    closed_form.initialise(vae, originals)
    with torch.no_grad():
        latents = vae.encode(originals[:8]).latent_dist.mode()
        copies = vae.decode(latents, num_frames=8).sample
        closed_form.image_only(vae)
        faster = vae.decode(latents, num_frames=1).sample
        closed_form.image_only(vae, on=False)
    error = (copies - originals[:8]).square().mean()

    assert error < 0.2 * originals[:8].var()
    assert torch.allclose(faster, copies, atol=1e-5)
    assert 0.5 < float(latents.std()) < 2.0


def test_a_vae_that_was_stopped_goes_on_to_the_same_weights(
    quick: None, pictures: Pictures, tmp_path: Path
) -> None:
    def train(name: str, step_count: int) -> dict[str, torch.Tensor]:
        vae = autoencoder.train_vae(
            pictures, tmp_path / name, step_count=step_count, device=CPU, say=silent
        )
        weights: dict[str, torch.Tensor] = vae.state_dict()
        return weights

    whole = train("whole.pt", 3)
    state = torch.load(tmp_path / "whole.pt", weights_only=True)
    assert state["step"] == 3
    # Cut off after two of three steps: the schedule is that of three.
    with pytest.raises(KeyboardInterrupt):
        _train_and_stop(pictures, tmp_path / "cut.pt")
    assert torch.load(tmp_path / "cut.pt", weights_only=True)["step"] == 2
    resumed = train("cut.pt", 3)

    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def _train_and_stop(pictures: Pictures, checkpoint: Path) -> None:
    original = autoencoder.Training

    class Stopped(original):  # type: ignore[valid-type, misc]
        def _set_rates(self, step: int) -> None:
            if step == 2:
                self.save()
                raise KeyboardInterrupt
            super()._set_rates(step)

    autoencoder.Training = Stopped  # type: ignore[misc]
    try:
        autoencoder.train_vae(pictures, checkpoint, step_count=3, device=CPU, say=silent)
    finally:
        autoencoder.Training = original  # type: ignore[misc]


def test_whitening_changes_the_latents_and_no_picture(pictures: Pictures) -> None:
    torch.manual_seed(0)
    vae = make_vae()
    originals = autoencoder.batch(pictures, 16, np.random.default_rng(0))
    closed_form.initialise(vae, originals)
    vae.requires_grad_(False)
    before = vae.decode(vae.encode(originals).latent_dist.mode(), num_frames=16).sample
    autoencoder.whiten(vae, pictures)
    latents = vae.encode(originals).latent_dist.mode()

    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(16), atol=0.5)
    assert torch.allclose(vae.decode(latents, num_frames=16).sample, before, atol=1e-4)


def test_finishing_the_decoder_leaves_the_latents_as_they_are(
    quick: None, pictures: Pictures, tmp_path: Path
) -> None:
    vae = autoencoder.train_vae(pictures, tmp_path / "vae.pt", step_count=1, device=CPU, say=silent)
    picture = autoencoder.batch(pictures, 1, np.random.default_rng(9))
    latents = vae.encode(picture).latent_dist.mode()
    before = vae.decode(latents, num_frames=1).sample
    autoencoder.finish_decoder(
        vae, pictures, tmp_path / "decoder.pt", step_count=2, device=CPU, say=silent
    )

    assert torch.equal(vae.encode(picture).latent_dist.mode(), latents)
    assert not torch.equal(vae.decode(latents, num_frames=1).sample, before)


def test_the_unet_trains_and_goes_on(quick: None, pictures: Pictures, tmp_path: Path) -> None:
    vae = make_vae().eval()
    said: list[str] = []

    def train(step_count: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        networks = train_unet(
            Conditioned(),
            pictures,
            vae,
            CLIPImageProcessorPil(),
            tmp_path / "unet.pt",
            step_count=step_count,
            device=CPU,
            say=said.append,
        )
        return networks.state_dict()

    first = {name: weight.clone() for name, weight in train(1).items()}
    second = train(2)

    assert torch.load(tmp_path / "unet.pt", weights_only=True)["step"] == 2
    assert any(not torch.equal(second[name], weight) for name, weight in first.items())
    assert said[-1].startswith("step 2/2 loss ")


def test_the_stages_follow_each_other() -> None:
    stages = [stage_at(step, 100) for step in range(100)]
    assert stages[0] == STAGES[0]
    assert stages[-1] == STAGES[-1]
    assert list(dict.fromkeys(stages)) == list(STAGES)
    assert sum(stage.share for stage in STAGES) == pytest.approx(1.0)


def test_a_missing_photograph_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Bridge_by_Sander_Klootwijk\.jpg is missing"):
        list(paths(tmp_path))
