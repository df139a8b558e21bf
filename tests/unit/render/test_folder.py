"""A model's defaults, and what a folder has to hold, before torch is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from farm.jobs.params import SVD, SVD_XT, TINY
from farm.render.errors import ModelInvalid, ModelUnavailable, VariantMissing
from farm.render.folder import describe, read_card
from farm.render.weights import check_folder, choose_variant, weight_patterns


def checkpoint(folder: Path, unet: dict[str, Any], vae_levels: int = 4) -> Path:
    """The configuration files of a checkpoint; no weights."""
    (folder / "unet").mkdir(parents=True)
    (folder / "vae").mkdir()
    (folder / "unet" / "config.json").write_text(json.dumps(unet))
    vae = {"block_out_channels": [32] * vae_levels}
    (folder / "vae" / "config.json").write_text(json.dumps(vae))
    return folder


@pytest.mark.parametrize("model", [SVD, SVD_XT, TINY], ids=lambda model: model.name)
def test_a_known_model_has_the_farms_own_defaults(model: Any) -> None:
    assert describe(model.name) == model


@pytest.mark.parametrize(
    ("unet", "vae_levels", "expected"),
    [
        ({"num_frames": 14, "sample_size": 96}, 4, (1024, 576, 14)),
        ({"num_frames": 25, "sample_size": None}, 4, (1024, 576, 25)),
        ({"num_frames": 8, "sample_size": 32}, 3, (128, 128, 8)),
        ({"num_frames": 8, "sample_size": [18, 32]}, 4, (256, 144, 8)),
        ({"sample_size": 4}, 4, (32, 32, 25)),  # below the farm's range: told, not clamped
    ],
)
def test_a_folders_defaults_come_from_its_configuration(
    tmp_path: Path, unet: dict[str, Any], vae_levels: int, expected: tuple[int, int, int]
) -> None:
    info = describe(str(checkpoint(tmp_path / "mine", unet, vae_levels)))

    assert (info.width_px, info.height_px, info.frame_count) == expected
    assert info.name == "mine"


def test_a_card_says_what_the_configuration_cannot(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", {"num_frames": 8, "sample_size": 32})
    card = {"width_px": 192, "height_px": 128, "step_count": 15, "note": "half trained"}
    (folder / "svdfarm.json").write_text(json.dumps(card))

    info = describe(str(folder))

    assert (info.width_px, info.height_px, info.step_count) == (192, 128, 15)
    assert read_card(folder).note == "half trained"


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"widht_px": 64}, "unknown key 'widht_px'"),
        ({"width_px": "64"}, "width_px is '64'; allowed: a whole number"),
        ({"step_count": 0}, "step_count is 0"),
        ({"note": 1}, "note is 1; allowed: a text"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, card: dict[str, Any], message: str) -> None:
    folder = checkpoint(tmp_path / "mine", {"num_frames": 8, "sample_size": 32})
    (folder / "svdfarm.json").write_text(json.dumps(card))

    with pytest.raises(ModelInvalid, match=message):
        describe(str(folder))


@pytest.mark.parametrize(
    ("unet", "message"),
    [
        ({"num_frames": "8"}, "num_frames is '8'"),
        ({"num_frames": 8, "sample_size": "big"}, "sample_size is 'big'"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    tmp_path: Path, unet: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelInvalid, match=message):
        describe(str(checkpoint(tmp_path / "mine", unet)))


def test_an_unknown_model_is_told_what_there_is() -> None:
    with pytest.raises(
        ModelUnavailable, match=r"no model 'svd-xxl'.*svd, svd-xt, nano, tiny.*folder"
    ):
        describe("svd-xxl")


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"config.json is missing.*diffusers' format"):
        describe(str(tmp_path))


def test_broken_json_is_refused_by_name(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", {})
    (folder / "unet" / "config.json").write_text("{")

    with pytest.raises(ModelInvalid, match=r"unet/config.json cannot be read as JSON"):
        describe(str(folder))


def test_the_torch_free_half_loads_no_torch() -> None:
    modules = "folder", "weights", "image", "encode", "probe", "receipt", "renderer", "fake"
    imports = ", ".join(f"farm.render.{name}" for name in modules)
    heavy = "{'torch', 'diffusers', 'transformers', 'ray', 'grpc'}"
    code = f"import sys, {imports}; print(sorted({heavy} & set(sys.modules)))"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


BOTH = ("w.safetensors", "w.fp16.safetensors")


@pytest.mark.parametrize(
    ("files", "dtype", "expected"),
    [
        (BOTH, "float16", "fp16"),
        (BOTH, "float32", None),
        (BOTH, "bfloat16", None),
        (("w.safetensors",), "float16", None),
        (("w.fp16.safetensors",), "float16", "fp16"),
    ],
)
def test_float16_takes_the_fp16_files_where_they_lie(
    tmp_path: Path, files: tuple[str, ...], dtype: str, expected: str | None
) -> None:
    for name in files:
        (tmp_path / name).touch()

    assert choose_variant(tmp_path, "w", dtype) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_missing_variant_is_named_with_what_is_there(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "w.fp16.safetensors").touch()

    with pytest.raises(
        VariantMissing, match=rf"lacks w.safetensors, which {dtype} .* w.fp16.* float16, or add"
    ):
        choose_variant(tmp_path, "w", dtype)


def test_pickled_weights_are_never_taken(tmp_path: Path) -> None:
    (tmp_path / "w.bin").touch()

    with pytest.raises(VariantMissing, match=r"there is w.bin. Only safetensors are read"):
        choose_variant(tmp_path, "w", "float16")


def test_shards_count_as_weights_and_a_lost_one_is_named(tmp_path: Path) -> None:
    shards = {"a": "w-00001-of-00002.safetensors", "b": "w-00002-of-00002.safetensors"}
    (tmp_path / "w.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (tmp_path / shards["a"]).touch()
    with pytest.raises(ModelInvalid, match=r"w-00002-of-00002.safetensors is not there"):
        choose_variant(tmp_path, "w", "float32")

    (tmp_path / shards["b"]).touch()

    assert choose_variant(tmp_path, "w", "float32") is None


def test_another_pipelines_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')

    with pytest.raises(ModelInvalid, match="holds a FluxPipeline; allowed: a StableVideo"):
        check_folder(tmp_path, "float32")


def test_only_the_files_of_one_precision_are_fetched() -> None:
    names = {
        "svd_xt.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "image_encoder/model.safetensors",
        "image_encoder/model.fp16.safetensors",
        "image_encoder/pytorch_model.bin",
    }

    half = [name for name in weight_patterns("float16", names) if name.endswith(".safetensors")]
    full = [name for name in weight_patterns("float32", names) if name.endswith(".safetensors")]

    assert half == [
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "image_encoder/model.fp16.safetensors",
    ]
    assert full == [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "image_encoder/model.safetensors",
    ]
