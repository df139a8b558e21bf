"""Ends with 0 once the farm at FARM_ADDRESS has rendered a small clip with MODEL.

The first clip may wait for a Pod, for its image and for the model.
"""

import os
import tempfile

from PIL import Image

import svdfarm

SMALL = svdfarm.RenderParams(
    model=os.environ["MODEL"], width_px=256, height_px=256, frame_count=2, step_count=2
)

with (
    svdfarm.Client(
        os.environ["FARM_ADDRESS"],
        token=os.environ["FARM_TOKEN"],
        tls_ca=os.environ.get("FARM_TLS_CA"),
        plaintext=os.environ.get("FARM_PLAINTEXT") == "true",
    ) as farm,
    tempfile.TemporaryDirectory() as folder,
):
    picture = Image.linear_gradient("L").convert("RGB")
    job = farm.submit(picture, params=SMALL, display_name="helm test", use_cache=False)
    for video in job.videos():
        print("rendered", video.save(folder))
    ended = job.wait()
    if ended.state is not svdfarm.JobState.SUCCEEDED:
        told = "; ".join(shot.error.message for shot in job.shots() if shot.error)
        raise SystemExit(f"{job.name} ended {ended.state}: {told}")
    job.delete()
