"""Weights are safetensors and nothing else, and what a folder's list says they are."""

from __future__ import annotations

import ast
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.render.errors import ModelInvalid
from farm.render.manifest import MANIFEST_FILE, check_manifest
from farm.render.tiny import tiny_folder
from farm.render.weights import check_folder

ROOT = Path(__file__).parents[2]
# By what they run what they read; torch.load with weights_only does not.
FORBIDDEN = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib")


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path in (*ROOT.glob("farm/**/*.py"), *ROOT.glob("client/svdfarm/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(ROOT), node


def test_nothing_that_is_read_is_run() -> None:
    for path, call in calls():
        name = ast.unparse(call.func)
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("trust_remote_code", "False") == "False", path
        assert given.get("use_safetensors", "True") == "True", path
        assert given.get("allow_pickle", "False") == "False", path
        assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system"), path
        assert given.get("shell", "False") == "False", path
        if name.endswith("torch.load"):
            assert given.get("weights_only") == "True", path
        if name.endswith("from_pretrained") and "weights" in name:
            assert given.get("use_safetensors") == "True", path


def test_no_module_of_ours_reads_pickles() -> None:
    for path in (*ROOT.glob("farm/**/*.py"), *ROOT.glob("client/svdfarm/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & set(FORBIDDEN), path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder(tmp_path / "cache"), tmp_path / "model"))


@pytest.mark.parametrize("ending", [".bin", ".pt", ".pth", ".ckpt", ".pkl"])
def test_a_folder_of_pickles_is_refused(copy: Path, ending: str) -> None:
    for path in (copy / "unet").glob("*.safetensors"):
        path.rename(path.with_name(f"diffusion_pytorch_model{ending}"))

    with pytest.raises(ModelInvalid, match="safetensors"):
        check_folder(copy, "float32")


def digests(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def test_files_are_those_of_the_folders_list(copy: Path) -> None:
    found = digests(copy)
    check_manifest(copy, found)  # without a list there is nothing to say
    listed = "".join(f"{digest}  {name}\n" for name, digest in found.items())
    (copy / MANIFEST_FILE).write_text(listed)
    check_manifest(copy, found)

    changed = found | {"unet/config.json": "0" * 64}
    with pytest.raises(ModelInvalid, match=r"unet/config.json has the SHA-256 000"):
        check_manifest(copy, changed)
    with pytest.raises(ModelInvalid, match=r"does not list unet/more.safetensors"):
        check_manifest(copy, found | {"unet/more.safetensors": "0" * 64})


@pytest.mark.parametrize("listed", ["x", "0" * 64, f"{'0' * 63}g  a", "\xff" * 70])
def test_a_list_that_cannot_be_read_is_refused(copy: Path, listed: str) -> None:
    (copy / MANIFEST_FILE).write_text(listed, encoding="latin-1")

    with pytest.raises(ModelInvalid, match=MANIFEST_FILE):
        check_manifest(copy, digests(copy))
