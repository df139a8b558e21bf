"""What the checks share: each profile and variant as Helm renders it, and the schemas."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
import yaml

from deploy.check import schemas
from deploy.check.chart import PROFILES, Object, objects, render

HERE = Path(__file__).parent
# Values that no profile has, each on top of one: together they take every branch of the templates.
VARIANTS: dict[str, Object] = {
    found["name"]: found for found in yaml.safe_load((HERE / "variants.yaml").read_text())
}


@cache
def _objects_of(name: str) -> list[Object]:
    if name in PROFILES:
        return objects(render(name))
    return objects(render(VARIANTS[name]["profile"], VARIANTS[name]["values"]))


@pytest.fixture(params=[*PROFILES, *VARIANTS])
def rendered(request: pytest.FixtureRequest) -> list[Object]:
    """Every object of each profile and variant, one set a test."""
    return _objects_of(request.param)


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    """Each profile's name."""
    return str(request.param)


@pytest.fixture
def ray_service(rendered: list[Object]) -> Object:
    """The RayService of each profile and variant."""
    (found,) = [found for found in rendered if found["kind"] == "RayService"]
    return found


@pytest.fixture(scope="session")
def crds() -> schemas.Validators:
    """The schemas of custom kinds, where KUBE_CRDS names a folder of them."""
    folder = os.environ.get("KUBE_CRDS")
    if not folder:
        pytest.skip(
            "KUBE_CRDS names no folder of CustomResourceDefinitions: custom kinds are not checked"
        )
    found = schemas.read_crds(Path(folder))
    assert ("ray.io/v1", "RayService") in found, f"KUBE_CRDS={folder} has no RayService"
    return found
