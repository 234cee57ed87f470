"""SIGTERM stops the taking, finishes what is begun, and leaves nothing undecided."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
from real_service import ClusterProcess, ServiceProcess
from shop import firing, ill_shop, manifests, names, write_policies


async def test_a_write_under_way_is_finished_before_the_process_ends(tmp_path: Path) -> None:
    async with ill_shop() as prometheus, ClusterProcess(tmp_path, manifests(names(1))) as cluster:
        service = ServiceProcess(
            tmp_path / "service",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=write_policies(tmp_path / "policies"),
        )
        async with service:
            async with aiohttp.ClientSession() as session:
                assert await service.post_alerts(firing("api-0"), session) == 200
            for _ in range(200):
                status, plan = await service.api("GET", "plans/P-1")
                if status == 200 and plan["state"] == "awaiting-approval":
                    break
                await asyncio.sleep(0.05)
            fault = {"kind": "answer-late", "seconds": 2, "method": "PATCH", "path": "/deployments/"}
            await cluster.fault(**fault, dry_run=False)
            await service.api("POST", "plans/P-1/approve", {"reason": "go"})
            for _ in range(200):
                if '"write_sent"' in service.log_tail():
                    break
                await asyncio.sleep(0.02)
            service.send(signal.SIGTERM)
            assert await asyncio.to_thread(service.wait, 15.0) == 0
            await service.start()
            kinds = await service.timeline(1)
            assert kinds.count("Executed") == kinds.count("ExecutionStarted") == 1
            _, plan = await service.api("GET", "plans/P-1")
            assert plan["state"] in ("executed", "watched")
        assert len(cluster.writes()) == 1
