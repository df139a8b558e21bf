"""Writes the lock files: every package by exact version and by the hashes of its files.

A lock holds for every system and each Python that svdfarm supports. What is locked stays at its
version while pyproject.toml allows it; `--upgrade` takes the newest. torch is apart, as the hashes
of its builds differ: torch-cuda.txt has PyPI's files and the CUDA packages that they need on Linux,
torch-cpu.txt the CPU build that pip finds where this runs, for its system and Python.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from torch_build import build, version

HERE = Path(__file__).parent
OLDEST_PYTHON = "3.11"

# In this order: what comes after server.txt has its versions.
LOCKS = {
    "server.txt": ["server.in"],
    "gateway.txt": ["gateway.in"],
    "fuzz.txt": ["fuzz.in"],
    "docs.txt": ["docs.in"],
    "dev.txt": ["server.in", "dev.in"],
    "nano.txt": ["server.in", "nano.in"],
    "proto.txt": ["proto.in"],
    "deploy.txt": ["deploy.in"],
    "build.txt": ["build.in"],
    "audit.txt": ["audit.in"],
}
ALONE = {"proto.txt", "deploy.txt", "build.txt", "audit.txt"}  # each has an environment of its own
CUDA = ("cuda-", "nvidia-", "triton")  # what only torch's CUDA build needs


def resolve(lock: str, sources: list[str], *, upgrade: bool) -> dict[str, str]:
    """What the requirements in `sources` need: of each package its lines, by its name."""
    out = HERE / lock
    if upgrade:
        out.unlink(missing_ok=True)  # uv keeps the versions that it finds there
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text("" if lock == "server.txt" or lock in ALONE else _pins())
        uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal"]
        ask = [*uv, "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header"]
        ask += ["--no-annotate", "--no-emit-package", "svdfarm", "--constraint", str(pins)]
        ask += ["--output-file", str(out)]
        subprocess.run([*ask, *(str(HERE / source) for source in sources)], check=True)
    blocks = re.split(r"^(?=\S)", out.read_text(), flags=re.MULTILINE)
    return {block.partition("==")[0]: block for block in blocks if "==" in block}


def _pins() -> str:
    locked = [HERE / "server.txt", HERE / "torch-cuda.txt"]
    lines = "\n".join(path.read_text() for path in locked).splitlines()
    return "\n".join(line.removesuffix(" \\") for line in lines if re.match(r"[a-z0-9]", line))


def is_torch(name: str) -> bool:
    """Whether a package belongs to a build of torch."""
    return name == "torch" or name.startswith(CUDA)


def cpu_build(cuda: str) -> str:
    """torch's lines with the hash of the CPU build."""
    if build() != "cpu":
        raise SystemExit("no CPU build of torch is to be had here: give pip an index that has it")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip"]
        get = [*pip, "download", "--quiet", "--no-deps", "--dest", folder, f"torch=={version()}"]
        subprocess.run(get, check=True)
        (wheel,) = Path(folder).iterdir()
        said = subprocess.run([*pip, "hash", str(wheel)], check=True, stdout=subprocess.PIPE).stdout
    (mine,) = re.findall(r"--hash=\S+", said.decode())
    return cuda.splitlines()[0] + f"\n    {mine}\n"


def main() -> None:
    """Writes every lock file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    for lock, sources in LOCKS.items():
        found = resolve(lock, sources, upgrade=upgrade)
        ours = {name: lines for name, lines in found.items() if not is_torch(name)}
        write(lock, " and ".join(sources), ours)
        if lock == "server.txt":
            of_torch = {name: lines for name, lines in found.items() if is_torch(name)}
            write("torch-cuda.txt", "server.in", of_torch)
            write("torch-cpu.txt", "server.in", {"torch": cpu_build(of_torch["torch"])})


def write(lock: str, sources: str, packages: dict[str, str]) -> None:
    """Writes one lock file."""
    header = f"# Made by `make lock` from {sources}. Do not edit.\n"
    (HERE / lock).write_text(header + "".join(packages.values()))


if __name__ == "__main__":
    main()
