"""Gateways that are replaced one after the other, as a Deployment's rollout does it.

python -m tests.chaos.rollout FOLDER
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from sqlalchemy import create_engine, text

from svdfarm import Client, NewShot, RenderParams
from tests.chaos import site
from tests.chaos.site import Plan
from tests.chaos.wire import Wire
from tests.chaos.worker import FRAMES, SIZE_PX
from tests.running import IMAGES, eventually

SHOTS = 32


def main() -> None:
    """Fails where a rollout costs a shot a try, or a client its job."""
    folder = Path(sys.argv[1])
    # The wires lead to gateways that are away, too: a lease has to outlast some tries, as 30 s do.
    plan = Plan(seed=1, seconds=0, database="postgres", workers=4, lease_s=10)
    params = RenderParams(
        model="tiny", width_px=SIZE_PX, height_px=SIZE_PX, frame_count=FRAMES, step_count=20
    )
    with site.prepared(plan, folder) as farm:
        with site.running(farm):
            balancer = Wire(lambda: farm.addresses, "clients")
            with Client(balancer.address) as client:
                shots = [
                    NewShot(IMAGES / "rocket.jpg", params, name=f"s-{n}") for n in range(SHOTS)
                ]
                job = client.submit(shots, use_cache=False)
                watched = job.watch()
                next(iter(watched))
                for gateway in farm.gateways:
                    before = gateway.process.pid
                    gateway.kill(signal.SIGTERM)
                    eventually(lambda: gateway.process.pid != before and gateway.ready.is_set())  # noqa: B023
                    finished = job.get().succeeded_shot_count
                    eventually(lambda: job.get().succeeded_shot_count > finished)  # noqa: B023
                for _ in watched:
                    pass  # the same call of the client's, through every break
                assert job.get().succeeded_shot_count == SHOTS
                for video in job.videos():
                    video.save(folder / video.shot.output_name)
            balancer.close()
        engine = create_engine(farm.url)
        with engine.connect() as database:
            charged = database.execute(text("select charged_attempt_count from shot")).scalars()
            assert set(charged) == {1}
            outcomes = database.execute(text("select distinct outcome from attempt")).scalars()
            assert "WORKER_LOST" not in set(outcomes)
        engine.dispose()


if __name__ == "__main__":
    main()
