"""What makes two shots one: equal keys give equal videos, so the second need not be rendered."""

from __future__ import annotations

import dataclasses
import hashlib
import json

from farm.jobs.params import RenderParams
from farm.jobs.tiers import Tier

# To be raised whenever this farm's own code makes other pixels or another file of the same shot.
_VERSION = 1


def cache_key(image_sha256: str, params: RenderParams, identity: str) -> str | None:
    """Of a shot with resolved `params`, by a model of this identity: its weights and numerics.

    None where the model does not say what it is. What nobody chose, such as the GPU or a version
    of torch, is not in it: it rounds differently, but makes no other clip.
    """
    if not identity:
        return None
    told = {name: v for name, v in dataclasses.asdict(params).items() if v is not None}
    if params.tier is Tier.EXACT:  # keys from before there were tiers stay good
        del told["tier"]
    content = json.dumps([_VERSION, image_sha256, identity, told], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
