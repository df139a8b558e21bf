"""From a model's name to its modules on a device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from safetensors import SafetensorError
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import (
    CLIPImageProcessorPil as ImageProcessor,
)

from farm.jobs.params import NANO, TINY, ModelInfo
from farm.render import hub
from farm.render.errors import DeviceUnavailable, ModelInvalid, ModelUnavailable, ParamsRejected
from farm.render.folder import NANO_FOLDER, NANO_VERSION, describe, local_folder, read_card
from farm.render.hashes import hash_files
from farm.render.manifest import check_manifest
from farm.render.quiet import no_progress_bars
from farm.render.tiny import default_cache_dir, tiny_folder
from farm.render.weights import check_folder, list_files

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Provenance:
    """Where a model's weights came from."""

    source: str  # a repository of the hub, "local folder", or "built in"
    revision: str  # the repository's commit, the version of the built-in weights, or ""
    files: dict[str, str]  # each file that was read, by its path in the folder: its SHA-256


@dataclass(frozen=True)
class Model:
    """A checkpoint in memory: the modules of StableVideoDiffusionPipeline, and what they are."""

    info: ModelInfo
    unet: Any
    vae: Any
    image_encoder: Any
    scheduler: Any
    feature_extractor: Any
    device: torch.device  # where it will run; the engine moves the modules there
    dtype: torch.dtype
    provenance: Provenance
    note: str | None = None  # to be shown wherever the model is named

    @property
    def vae_scale(self) -> int:
        """Picture pixels per latent pixel."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


def load(
    model: str,
    *,
    device: str = "auto",
    dtype: str | None = None,
    cache_dir: Path | None = None,
    revision: str | None = None,
) -> Model:
    """The model `svd`, `svd-xt`, `nano`, `tiny`, or that of a local folder, in main memory.

    `device` auto is CUDA where there is some. `dtype` None is float16 on CUDA and float32 on a
    CPU, where half precision is slow. `cache_dir` is where `tiny` is made and Stability's files
    are kept; None means `~/.cache/svdfarm` and the hub's own cache. `revision` is another commit
    of Stability's repository than the farm's own.

    Raises ModelUnavailable, ModelInvalid, VariantMissing, DeviceUnavailable.
    """
    place = choose_device(device)
    dtype = dtype or ("float16" if place.type == "cuda" else "float32")
    if dtype not in DTYPES:
        raise ParamsRejected(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}.")
    folder, source, revision = _locate(model, dtype, cache_dir, revision)
    variants = check_folder(folder, dtype)
    names = list_files(folder, variants)
    try:
        files = hash_files(folder, names, cache_dir or default_cache_dir())
    except OSError as error:
        raise ModelInvalid(f"{folder} cannot be read: {error}. Copy the model again.") from error
    check_manifest(folder, files)
    info = describe(model)

    def weights(name: str, kind: Any) -> Any:
        return _load_part(kind, folder / name, variants[name], DTYPES[dtype])

    loaded = Model(
        info=info,
        unet=weights("unet", UNetSpatioTemporalConditionModel),
        vae=weights("vae", AutoencoderKLTemporalDecoder),
        image_encoder=weights("image_encoder", CLIPVisionModelWithProjection),
        scheduler=_read(EulerDiscreteScheduler.from_pretrained, folder / "scheduler"),
        feature_extractor=_read(ImageProcessor.from_pretrained, folder / "feature_extractor"),
        device=place,
        dtype=DTYPES[dtype],
        provenance=Provenance(source, revision, files),
        note=read_card(folder).note,
    )
    log.info("model loaded", extra={"model": info.name, "device": str(place), "dtype": dtype})
    return loaded


def choose_device(device: str) -> torch.device:
    """The torch device of `auto`, `cpu` or `cuda`."""
    if device not in DEVICES:
        raise DeviceUnavailable(f"device is {device!r}; allowed: {', '.join(DEVICES)}.")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise DeviceUnavailable(
            "device is cuda, and torch finds no CUDA device here. Use cpu or auto; on a machine "
            "with a GPU, check that `nvidia-smi` shows it and that torch is a CUDA build."
        )
    # cuda:0, not cuda: accelerate's hooks compare a module's device with the one they were given.
    return torch.device("cuda:0" if has_cuda and device != "cpu" else "cpu")


def _locate(
    model: str, dtype: str, cache_dir: Path | None, revision: str | None
) -> tuple[Path, str, str]:
    """Folder, source, revision."""
    if model == TINY.name:
        folder = _make_tiny(cache_dir or default_cache_dir())
        return folder, "built in", folder.name
    if model == NANO.name:
        return NANO_FOLDER, "built in", f"nano-{NANO_VERSION}"
    if model in hub.REPOSITORIES:
        folder = hub.fetch(model, dtype, cache_dir, revision)
        return folder, hub.REPOSITORIES[model], folder.name
    # Its path stays out of the receipt: videos travel, and paths name people.
    return local_folder(model), "local folder", ""


def _make_tiny(cache_dir: Path) -> Path:
    try:
        return tiny_folder(cache_dir)
    except OSError as error:
        raise ModelUnavailable(
            f"Model tiny cannot be made in {cache_dir}: {error.strerror or error}. Give a folder "
            "that can be written and has 20 MB free, as cache_dir or in XDG_CACHE_HOME."
        ) from error


def _load_part(kind: Any, folder: Path, variant: str | None, dtype: torch.dtype) -> Any:
    """One module with its weights, in evaluation mode, or ModelInvalid naming the folder."""

    def from_files(path: Path) -> Any:
        part, report = kind.from_pretrained(
            path,
            variant=variant,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        # from_pretrained fills these with random numbers and only warns.
        lost = sorted(report["missing_keys"])
        if lost:
            raise ModelInvalid(
                f"{path} lacks {len(lost)} weights of its configuration, the first {lost[0]}. "
                "Copy the model again, or give the configuration that belongs to the weights."
            )
        return part

    # The weights keep requires_grad, as the pipeline's do: torch chooses another matrix product
    # for weights without it (should_fold in LinearAlgebra.cpp), and the last bits differ.
    return _read(from_files, folder).eval()


def _read(read: Callable[[Path], Any], folder: Path) -> Any:
    try:
        with no_progress_bars():
            return read(folder)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelInvalid(
            f"{folder} cannot be loaded: {error}. Copy the model again; its parts may be damaged "
            "or belong to different models."
        ) from error
