"""Policies mounted as a ConfigMap, swapped a hundred times a second, half of the versions broken: no request
fails, only good sets are ever in force, and the last good one is live within two seconds.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from builders import alert, labels, notification
from real_service import SENDER_TOKEN, write_credentials

from receiver import packaged
from receiver.app import Service, serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import demo_world
from receiver.settings import Settings

FILE = "inc-001-high-error-rate.yaml"
EDITS = 200
EDIT_EVERY_SECONDS = 0.01


class Mount:
    """A folder as the kubelet mounts a ConfigMap: files are links through `..data`; that alone is swapped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._texts = {
            Path(path).name: text for path, text in packaged.read_files(packaged.policies()).items()
        }
        folder.mkdir()
        self.swap(edit=("", ""))
        for name in self._texts:
            (folder / name).symlink_to(f"..data/{name}")

    def swap(self, *, edit: tuple[str, str]) -> None:
        """The next version, with one edit of the policy; the one before the last goes away."""
        self._number += 1
        version = self._folder / f"..{self._number:06d}"
        version.mkdir()
        for name, text in self._texts.items():
            (version / name).write_text(text.replace(*edit) if name == FILE else text, encoding="utf-8")
        fresh = self._folder / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self._folder / "..data")
        shutil.rmtree(self._folder / f"..{self._number - 2:06d}", ignore_errors=True)


def monitors(minutes: int) -> tuple[str, str]:
    """A version that is good and can be told from the others."""
    return "monitor: 15m", f"monitor: {minutes}m"


async def test_a_hundred_swaps_a_second_half_of_them_broken_harm_nobody(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "policies")
    write_credentials(tmp_path)
    clock = WorldClock()
    async with demo_world(scenario("inc-001"), clock) as world:
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            policies=tmp_path / "policies",
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
        )
        door = await cluster.connect(url=world.api.url)
        async with serving(settings, clock=clock, door=door) as service:
            posting = asyncio.create_task(_post_for_ever(service))
            for number in range(EDITS):
                edit = monitors(100 + number) if number % 2 else ("mode: propose", "mode: proposed")
                await asyncio.to_thread(mount.swap, edit=edit)
                await asyncio.sleep(EDIT_EVERY_SECONDS)
                minutes = service.world.loaded.policies.policies[0].monitor.total_seconds() / 60
                assert minutes == 15 or minutes in range(101, 100 + EDITS, 2)
            mount.swap(edit=monitors(77))
            ended = time.monotonic()
            while service.world.loaded.policies.policies[0].monitor.total_seconds() != 77 * 60:
                assert time.monotonic() - ended < 2, "the last good set is not live"
                await asyncio.sleep(0.02)
            assert service.world.loaded.refused is None
            assert service.counters.policy_reloads["refused"] > 0
            posting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await posting
            assert service.counters.deliveries_kept > 0
            assert service.counters.deliveries_refused == 0
        await door.close()


async def _post_for_ever(service: Service) -> None:
    headers = {"Authorization": f"Bearer {SENDER_TOKEN}"}
    number = 0
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            number += 1
            entry = alert(starts_at=datetime.now(UTC), with_labels=labels(app=f"app-{number % 20}"))
            async with session.post(f"{service.url}/api/v1/alerts", data=notification(entry)) as response:
                assert response.status == 200
            await asyncio.sleep(0.005)
