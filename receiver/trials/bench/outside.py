"""What the service looks at, as a process of its own: the demo world's API server and Prometheus, with many
patients that fell ill a few minutes ago. Prints both addresses once it listens.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime, timedelta

from receiver.demo.kubernetes import ApiServer, RealClock
from receiver.demo.prometheus import PrometheusServer, Sample, Target
from receiver.trials.bench import patients


async def serve(count: int) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    began = datetime.now(UTC)

    def collect(at: datetime) -> list[Sample]:
        well = at < began - patients.SICK_SINCE
        return [Sample(patients.METRIC, {}, patients.WELL if well else patients.SICK)]

    api = ApiServer(clock=RealClock(), ready_after=timedelta(milliseconds=50))
    _give_a_past(api, patients.names(count))
    target = Target(job="shop", instance="shop:80", collect=collect)
    prometheus = PrometheusServer(clock=RealClock(), targets=[target])
    prometheus.backfill(began - timedelta(hours=3), began, timedelta(seconds=15), target)
    async with api, prometheus:
        sys.stdout.write(json.dumps({"cluster": api.url, "prometheus": prometheus.url}) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _give_a_past(api: ApiServer, apps: list[str]) -> None:
    """All good releases at one moment, and all bad ones at another."""
    for ago, image in ((timedelta(hours=3), patients.GOOD), (timedelta(hours=1), patients.BAD)):
        api.rollouts((patients.deployment(app, image) for app in apps), ago=ago)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
