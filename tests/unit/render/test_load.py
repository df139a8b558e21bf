from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from farm.jobs.params import NOTES, TINY
from farm.render.errors import (
    DeviceUnavailable,
    ModelInvalid,
    ModelUnavailable,
    ParamsRejected,
    VariantMissing,
)
from farm.render.load import Model, load
from farm.render.tiny import default_cache_dir, make_parts

WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "image_encoder": "model",
}


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A checkpoint that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "mine"))


def add_half(copy: Path, *, keep_plain: bool, factor: float = 1.0) -> None:
    """Put fp16 files beside the plain ones or in their place, their weights times `factor`."""
    for component, stem in WEIGHTS.items():
        plain = copy / component / f"{stem}.safetensors"
        half = {name: (weight * factor).half() for name, weight in load_file(plain).items()}
        save_file(half, copy / component / f"{stem}.fp16.safetensors", metadata={"format": "pt"})
        if not keep_plain:
            plain.unlink()


def test_tiny_loads_in_under_two_seconds(folder: Path, cache_dir: Path) -> None:
    started = time.perf_counter()

    load("tiny", device="cpu", cache_dir=cache_dir)

    assert time.perf_counter() - started < 2.0


def test_tiny_says_that_it_is_a_test_pattern(model: Model, folder: Path) -> None:
    assert model.note == NOTES["tiny"]
    assert "test pattern" in NOTES["tiny"]
    assert model.info == TINY
    # Its folder, loaded by its path, does not pass for a real model either.
    assert load(str(folder), device="cpu").note == NOTES["tiny"]


def test_tiny_is_the_same_everywhere(folder: Path) -> None:
    torch.manual_seed(12)
    drawn = torch.rand(1)
    torch.manual_seed(12)

    parts = make_parts()

    # The first numbers are torch's for this seed; a change has to come with a new VERSION.
    written = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(parts["unet"].state_dict()[name], written[name]) for name in written)
    assert torch.equal(torch.rand(1), drawn)  # the caller's random numbers are left alone


def test_tiny_has_svds_own_schedule(model: Model) -> None:
    config = model.scheduler.config
    assert config.prediction_type == "v_prediction"
    assert config.timestep_type == "continuous"
    assert config.use_karras_sigmas
    assert (config.sigma_max, config.sigma_min) == (700.0, 0.002)


MAKE = """
import sys, time
from pathlib import Path
from farm.render.tiny import tiny_folder
print("ready", flush=True)
sys.stdin.readline()
print(tiny_folder(Path(sys.argv[1])))
"""


def test_racing_makers_of_tiny_both_find_a_whole_model(tmp_path: Path, folder: Path) -> None:
    cache = tmp_path / "cache"
    final = cache / folder.name
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, str(cache)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for maker in makers:
        assert maker.stdout
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin
        maker.stdin.write("\n")
        maker.stdin.flush()

    while not final.exists() and any(maker.poll() is None for maker in makers):
        pass
    seen = files(final)  # at the first moment that it is there

    assert [maker.communicate()[0] for maker in makers] == [f"{final}\n"] * 2
    assert seen == files(final) == files(folder)
    assert [path.name for path in cache.iterdir()] == [final.name]


def files(folder: Path) -> dict[str, int]:
    """Every file in `folder` with its size."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ModelUnavailable, match=r"made in .*file: .*XDG_CACHE_HOME"):
        load("tiny", device="cpu", cache_dir=tmp_path / "file")


def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "svdfarm"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "svdfarm"


def test_a_local_folder_loads_under_its_own_name(copy: Path) -> None:
    loaded = load(str(copy), device="cpu")

    assert loaded.info.name == "mine"
    assert (loaded.info.width_px, loaded.info.frame_count) == (TINY.width_px, TINY.frame_count)
    assert loaded.dtype == loaded.unet.dtype == torch.float32
    assert not loaded.unet.training
    assert str(copy) not in str(loaded.provenance)


@pytest.mark.parametrize(("dtype", "doubled"), [("float16", True), ("float32", False)])
def test_where_both_variants_lie_each_precision_takes_its_own(
    copy: Path, dtype: str, doubled: bool
) -> None:
    plain = load_file(copy / "unet" / "diffusion_pytorch_model.safetensors")["conv_in.bias"]
    add_half(copy, keep_plain=True, factor=2.0)

    loaded = load(str(copy), device="cpu", dtype=dtype)

    expected = plain * 2 if doubled else plain
    assert torch.allclose(loaded.unet.conv_in.bias.float(), expected, rtol=1e-2)
    assert loaded.unet.dtype == loaded.vae.dtype == loaded.image_encoder.dtype == loaded.dtype
    weights = [name for name in loaded.provenance.files if name.endswith(".safetensors")]
    assert {name.endswith(".fp16.safetensors") for name in weights} == {doubled}


def test_plain_files_serve_float16_where_there_are_no_others(copy: Path) -> None:
    loaded = load(str(copy), device="cpu", dtype="float16")

    assert loaded.unet.dtype == torch.float16
    assert "unet/diffusion_pytorch_model.safetensors" in loaded.provenance.files


def test_float32_of_a_half_precision_folder_is_refused(copy: Path) -> None:
    add_half(copy, keep_plain=False)

    with pytest.raises(VariantMissing, match=r"lacks diffusion_pytorch_model.safetensors, which"):
        load(str(copy), device="cpu", dtype="float32")
    assert load(str(copy), device="cpu", dtype="float16").unet.dtype == torch.float16


@pytest.mark.parametrize(
    "component", ["unet", "vae", "image_encoder", "scheduler", "feature_extractor"]
)
def test_a_missing_component_is_named(copy: Path, component: str) -> None:
    shutil.rmtree(copy / component)

    with pytest.raises(ModelInvalid, match=component):
        load(str(copy), device="cpu")


@pytest.mark.parametrize(
    "lost",
    [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "image_encoder/config.json",
        "scheduler/scheduler_config.json",
        "feature_extractor/preprocessor_config.json",
    ],
)
def test_a_missing_configuration_is_named(copy: Path, lost: str) -> None:
    (copy / lost).unlink()

    with pytest.raises(ModelInvalid, match=lost):
        load(str(copy), device="cpu")


@pytest.mark.parametrize("component", WEIGHTS)
def test_a_weight_file_cut_short_is_refused(copy: Path, component: str) -> None:
    path = copy / component / f"{WEIGHTS[component]}.safetensors"
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(ModelInvalid, match=f"{component} cannot be loaded"):
        load(str(copy), device="cpu")


@pytest.mark.parametrize("component", WEIGHTS)
def test_a_missing_weight_is_not_made_up(copy: Path, component: str) -> None:
    path = copy / component / f"{WEIGHTS[component]}.safetensors"
    weights = load_file(path)
    lost = min(name for name in weights if name.endswith(".weight"))
    del weights[lost]
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(ModelInvalid, match=lost):
        load(str(copy), device="cpu")


def test_a_configuration_of_other_weights_is_refused(copy: Path) -> None:
    path = copy / "unet" / "config.json"
    config = json.loads(path.read_text()) | {"cross_attention_dim": 64}
    path.write_text(json.dumps(config))

    with pytest.raises(ModelInvalid, match="unet cannot be loaded"):
        load(str(copy), device="cpu")


def test_another_scheduler_is_refused(copy: Path) -> None:
    path = copy / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "DDIMScheduler"}))

    with pytest.raises(ModelInvalid, match="names the class DDIMScheduler; allowed: Euler"):
        load(str(copy), device="cpu")


def test_devices_and_dtypes_are_checked() -> None:
    with pytest.raises(DeviceUnavailable, match="device is 'tpu'; allowed: auto, cpu, cuda"):
        load("tiny", device="tpu")
    with pytest.raises(ParamsRejected, match="dtype is 'int8'; allowed: float32, float16"):
        load("tiny", device="cpu", dtype="int8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none_says_what_to_do() -> None:
    with pytest.raises(DeviceUnavailable, match=r"no CUDA device here. Use cpu or auto"):
        load("tiny", device="cuda")
