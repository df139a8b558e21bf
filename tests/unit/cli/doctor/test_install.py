"""Python, the packages, ffmpeg and torch: what is there, and what is told of it."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from farm.cli.doctor import child, install, torch_build
from farm.cli.doctor.check import State
from farm.cli.doctor.install import Package
from farm.cli.doctor.torch_build import BrokenTorch, Torch

BASE = Package("typer", ">=0.29", "0.29.2", fits=True, of_server=False)
TORCH = Package("torch", ">=2.11", "2.13.0+cpu", fits=True, of_server=True)
RAY = Package("ray", "<2.61,>=2.60", "2.60.0", fits=True, of_server=True)
DIFFUSERS = Package("diffusers", "<0.43,>=0.42.1", "0.42.1", fits=True, of_server=True)
WHOLE = [BASE, TORCH, RAY, DIFFUSERS]


def without(package: Package) -> Package:
    return replace(package, found=None, fits=False)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ((3, 10, 9), State.FAIL),
        ((3, 11, 0), State.OK),
        ((3, 13, 9), State.OK),
        ((3, 14, 0, "final", 0), State.FAIL),
        ((4, 0, 0), State.FAIL),
    ],
)
def test_python_is_judged_by_its_minor_version(
    version: tuple[int | str, ...], state: State
) -> None:
    check = install.judge_python(version)

    assert check.state is state
    assert check.found.startswith(".".join(map(str, version[:3])))


def test_the_pythons_allowed_are_those_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    allowed = SpecifierSet(project["requires-python"])
    versions = [(3, minor) for minor in range(30)]

    fits = [version for version in versions if f"{version[0]}.{version[1]}" in allowed]

    assert (fits[0], fits[-1]) == (install.OLDEST, install.NEWEST)


def test_what_is_installed_here_fits() -> None:
    packages = install.probe_packages()
    assert packages is not None
    found = {package.name: package for package in packages}

    assert found["torch"].of_server
    assert not found["typer"].of_server
    assert found["ray"].fits
    assert install.judge_packages(packages).state is State.OK


METADATA = """Metadata-Version: 2.4
Name: oddprog
Version: 1.0
Requires-Dist: typer>=999
Requires-Dist: rich>=1
Requires-Dist: no-such-thing; extra == "server"
Requires-Dist: nor-this; extra == "dev"
"""


def test_requirements_are_compared_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "oddprog-1.0.dist-info").mkdir()
    (tmp_path / "oddprog-1.0.dist-info" / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(tmp_path)

    packages = install.probe_packages("oddprog")

    assert packages is not None
    assert [(p.name, p.found is not None, p.fits, p.of_server) for p in packages] == [
        ("typer", True, False, False),
        ("rich", True, True, False),
        ("no-such-thing", False, False, True),
    ]


def test_a_package_of_another_name_has_no_requirements() -> None:
    packages = install.probe_packages("no-such-package-of-ours")

    assert packages is None
    assert install.judge_packages(packages).state is State.WARN


@pytest.mark.parametrize(
    ("packages", "state", "said"),
    [
        (WHOLE, State.OK, "torch 2.13.0+cpu, ray 2.60.0, diffusers 0.42.1, 1 others"),
        (
            [BASE, TORCH, replace(RAY, found="2.50.0", fits=False), DIFFUSERS],
            State.FAIL,
            "ray is 2.50.0; allowed: <2.61,>=2.60",
        ),
        ([BASE, TORCH, RAY, without(DIFFUSERS)], State.FAIL, "diffusers is not installed"),
        ([BASE, *map(without, (TORCH, RAY, DIFFUSERS))], State.WARN, "can submit and watch"),
        (
            [replace(BASE, found="0.1", fits=False), *map(without, (TORCH, RAY, DIFFUSERS))],
            State.FAIL,
            "typer is 0.1",
        ),
    ],
)
def test_packages_are_judged_together(packages: list[Package], state: State, said: str) -> None:
    check = install.judge_packages(packages)

    assert check.state is state
    assert said in check.found
    assert ("svdfarm[server]" in check.advice) is (state is not State.OK)


def test_the_ffmpeg_of_this_environment_encodes() -> None:
    (check,) = install.check_ffmpeg()

    assert check.state is State.OK
    assert "libx264" in check.found


def test_an_ffmpeg_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))

    (check,) = install.check_ffmpeg()

    assert check.state is State.FAIL
    assert "nothing" in check.found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("ffmpeg version 7.1 Copyright\nUnknown encoder 'libx264'", "7.1, without libx264"),
        ("ffmpeg version 7.1 Copyright\nConversion failed!", "7.1, cannot encode: Conversion fa"),
        ("", "of an unknown version, cannot encode: it said nothing and ended with code 1"),
    ],
)
def test_an_ffmpeg_that_does_not_encode_fails(said: str, found: str) -> None:
    check = install.judge_ffmpeg(child.Ran(1, "", said))

    assert check.state is State.FAIL
    assert check.found.startswith(found)


def test_the_torch_of_this_environment_starts() -> None:
    import torch

    found = torch_build.probe()

    assert isinstance(found, Torch)
    assert found.version == torch.__version__
    assert (found.built_for is None) is (torch.version.cuda is None)
    assert found.usable is torch.cuda.is_available()


@pytest.mark.parametrize(
    ("script", "timeout_s", "why"),
    [
        ("raise OSError('libcudart.so.12: no such file')", 60, "OSError: libcudart.so.12: no such"),
        ("import os; os.kill(os.getpid(), 4)", 60, "ended with code -4"),
        ("import time; time.sleep(60)", 0.3, "does not start within 0.3 s"),
    ],
)
def test_a_torch_that_does_not_start_is_told_with_its_last_words(
    script: str, timeout_s: float, why: str
) -> None:
    found = torch_build.probe([sys.executable, "-c", script], timeout_s)
    (check,) = torch_build.judge(found)

    assert isinstance(found, BrokenTorch)
    assert why in check.found
    assert check.state is State.FAIL


def test_a_build_without_cuda_is_named() -> None:
    (cpu,) = torch_build.judge(Torch("2.13.0+cpu", None, "", ()))
    (cuda,) = torch_build.judge(Torch("2.13.0", "CUDA 13.0", "", ()))

    assert cpu.found == "2.13.0+cpu, a build without CUDA"
    assert cuda.found == "2.13.0, built for CUDA 13.0"
    assert torch_build.judge(None) == []
