"""Which files of a checkpoint hold its weights, for the precision that was asked for.

diffusers' layout: a folder per component, `NAME.safetensors` in it, `NAME.fp16.safetensors` for
the half-precision variant, either cut into shards with an index file. Pickled weights (.bin, .pt)
are never read: loading one runs code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from farm.render.errors import ModelInvalid, VariantMissing
from farm.render.folder import read_json

PIPELINE = "StableVideoDiffusionPipeline"

# Component folder to the stem of its weight files.
WEIGHT_STEMS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "image_encoder": "model",
}

# Component folder to its configuration file, and the class which that file has to name.
# (A CLIP configuration names its class under another key, and transformers checks it.)
CONFIG_FILES: Mapping[str, tuple[str, str | None]] = {
    "unet": ("config.json", "UNetSpatioTemporalConditionModel"),
    "vae": ("config.json", "AutoencoderKLTemporalDecoder"),
    "image_encoder": ("config.json", None),
    "scheduler": ("scheduler_config.json", "EulerDiscreteScheduler"),
    "feature_extractor": ("preprocessor_config.json", None),
}

FP16 = "fp16"


def check_folder(folder: Path, dtype: str) -> dict[str, str | None]:
    """Each weighted component's variant to load for `dtype`: "fp16", or None for plain files.

    Raises ModelInvalid where a part is missing or of another model, VariantMissing where the
    weights of this precision are.
    """
    _check_configs(folder)
    return {name: choose_variant(folder / name, stem, dtype) for name, stem in WEIGHT_STEMS.items()}


def list_files(folder: Path, variants: Mapping[str, str | None]) -> list[str]:
    """All that is read of a checkpoint, as paths in its folder: each file can change a pixel."""
    names = [f"{component}/{file}" for component, (file, _) in CONFIG_FILES.items()]
    for component, stem in WEIGHT_STEMS.items():
        for path in _files(folder / component, stem, variants[component]):
            names.append(f"{component}/{path.name}")
            names += [f"{component}/{shard}" for shard in sorted(_shards(path))]
    return names


def choose_variant(component: Path, stem: str, dtype: str) -> str | None:
    """float16 takes the fp16 files where they lie, else plain ones; any other takes plain ones.

    Weights rounded to half precision are not widened for float32 or bfloat16: the clip would not
    be the one that was asked for.
    """
    plain, half = _files(component, stem, None), _files(component, stem, FP16)
    if dtype == "float16" and half:
        _check_shards(component, half)
        return FP16
    if plain:
        _check_shards(component, plain)
        return None
    present = sorted(
        path.name
        for path in component.iterdir()
        if path.suffix in {".safetensors", ".bin", ".pt", ".ckpt"}
    )
    there = f"there is {', '.join(present)}" if present else "there are no weights at all"
    if half:
        raise VariantMissing(
            f"{component} lacks {stem}.safetensors, which {dtype} needs; {there}. "
            "Ask for dtype float16, or add the plain files."
        )
    raise VariantMissing(
        f"{component} lacks {stem}.safetensors; {there}. Only safetensors are read: save the model "
        "again with save_pretrained(..., safe_serialization=True)."
    )


def weight_patterns(dtype: str, names: set[str]) -> list[str]:
    """The files of a repository to fetch for `dtype`, given all `names` in it.

    The same choice as `choose_variant`, made before anything is fetched: 4.5 GB, not 14.
    """
    chosen = []
    for component, stem in WEIGHT_STEMS.items():
        mine = {n for n in names if n.startswith(f"{component}/{stem}") and "safetensors" in n}
        half = {n for n in mine if f".{FP16}" in n.removeprefix(component)}
        chosen += sorted(half if dtype == "float16" and half else mine - half)
    configs = [f"{component}/{file}" for component, (file, _) in CONFIG_FILES.items()]
    return ["model_index.json", *configs, *chosen]


def _check_configs(folder: Path) -> None:
    pipeline = read_json(folder / "model_index.json").get("_class_name")
    if pipeline != PIPELINE:
        raise ModelInvalid(f"{folder} holds a {pipeline}; allowed: a {PIPELINE}.")
    for component, (file, wanted) in CONFIG_FILES.items():
        if not (folder / component).is_dir():
            raise ModelInvalid(
                f"{folder} lacks the folder {component}/; a model has "
                f"{', '.join(f'{name}/' for name in CONFIG_FILES)}. Copy the whole model again."
            )
        given = read_json(folder / component / file).get("_class_name")
        if wanted is not None and given != wanted:
            raise ModelInvalid(
                f"{folder / component / file} names the class {given}; allowed: {wanted}."
            )


def _files(component: Path, stem: str, variant: str | None) -> list[Path]:
    """The one weight file, or the index of several; empty where this variant is not there.

    Names: diffusers' `_add_variant` and transformers' `_add_variant`, which agree.
    """
    tag = f".{variant}" if variant else ""
    single = component / f"{stem}{tag}.safetensors"
    index = component / f"{stem}.safetensors.index{tag}.json"
    return [path for path in (single, index) if path.is_file()][:1]


def _check_shards(component: Path, files: list[Path]) -> None:
    for path in files:
        shards = _shards(path)
        if lost := sorted(shard for shard in shards if not (component / shard).is_file()):
            raise ModelInvalid(
                f"{path} lists {len(shards)} files, of which {', '.join(lost)} is not there. "
                "Copy the whole model again."
            )


def _shards(path: Path) -> set[str]:
    """The files that an index names; none where `path` is no index."""
    return set(read_json(path).get("weight_map", {}).values()) if path.suffix == ".json" else set()
