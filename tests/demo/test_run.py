"""`stanch demo`: what a newcomer sees, in a process of its own, with a production kubeconfig lying about."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from real_service import kubeconfig

from receiver import packaged
from receiver.demo.clock import WorldClock
from receiver.demo.kubernetes import ApiServer, RealClock

# Every event that the way from alert to resolved has, in its order.
STORY = [
    "Opened",
    "AlertFired",
    "Classified",
    "Diagnosed",
    "Planned",
    "ApprovalRequested",
    "Approved",
    "ExecutionStarted",
    "Executed",
    "InPlace",
    "Verified",
    "MonitoringStarted",
    "ReadyToResolve",
    "Resolved",
]


async def demo(*arguments: str, folder: Path, cluster: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it with everything set that must not matter; its exit code and what it told."""
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig(folder, cluster)),
        "STANCH_KUBE_CONTEXT": "test",
        "STANCH_PROMETHEUS_URL": cluster,
        "STANCH_NO_SUCH_SETTING": "1",
        "HTTP_PROXY": cluster,
        "http_proxy": cluster,
    }
    command = [sys.executable, "-m", "receiver.cli.main", "demo", "--output", "json", *arguments]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=-1, stderr=-1, cwd=folder
    )
    out, err = await asyncio.wait_for(process.communicate(), 110)
    told = [json.loads(line) for line in out.decode().splitlines()]
    assert process.returncode is not None
    assert told, err.decode()
    return process.returncode, told


async def test_the_demo_cures_its_incident_once_and_touches_nothing_else(tmp_path: Path) -> None:
    async with ApiServer(clock=RealClock()) as production:
        code, told = await demo("--yes", folder=tmp_path, cluster=production.url)
        assert len(production.calls) == 0
    assert code == 0
    events = [line["event"]["event"] for line in told if "event" in line]
    places = [events.index(name) for name in STORY]
    assert places == sorted(places)
    assert told[-1] == {"minutes": told[-1]["minutes"], "resolved": True, "writes": 1}
    # The windows are the shipped ones: a P1 is watched for an hour.
    assert told[-1]["minutes"] >= 60
    assert told[0]["speed"] == 240.0


async def test_a_rollback_that_does_not_help_is_no_success(tmp_path: Path) -> None:
    async with ApiServer(clock=RealClock()) as production:
        code, told = await demo(
            "--yes", "--scenario", "inc-001-not-helping", folder=tmp_path, cluster=production.url
        )
    assert code == 1
    events = [line["event"]["event"] for line in told if "event" in line]
    assert "StillSick" in events
    assert "UndoAsked" in events
    assert told[-1]["resolved"] is False
    assert told[-1]["writes"] == 1


CONTAINED = [
    "ApprovalRequested",
    "TurnedSecurity",
    "PlanVoided",
    "IsolationPlanned",
    "IsolationAsked",
    "EvidenceSealed",
    "IsolationStarted",
    "IsolationStepDone",
    "IsolationHolds",
]


async def test_a_miner_is_cut_off_with_its_evidence_and_nothing_is_healed_or_deleted(tmp_path: Path) -> None:
    async with ApiServer(clock=RealClock()) as production:
        code, told = await demo("--yes", "--scenario", "security", folder=tmp_path, cluster=production.url)
        assert len(production.calls) == 0
    assert code == 0
    events = [line["event"] for line in told if "event" in line]
    names = [event["event"] for event in events]
    places = [names.index(name) for name in CONTAINED]
    assert places == sorted(places)
    assert "Executed" not in names
    assert told[-1] == {"contained": True, "writes": 3, "deletions": 0}
    (shown,) = [line["incident_now"] for line in told if "incident_now" in line]
    assert [one["state"] for one in shown["isolations"]] == ["holds", "holds"]
    assert shown["evidence"][0]["files"] > 5 and shown["security"]["authority_until"]
    # Everybody reads along in the public channel: not which pod, not why.
    public = [line["public channel"] for line in told if "public channel" in line]
    about_it = [text for text in public if "incident 2" in text]
    pod = shown["isolations"][0]["target"].rsplit("/", 1)[1]
    assert about_it and all("restricted incident" in text for text in about_it)
    assert not [text for text in public if pod in text or "miner" in text.lower()]


async def test_without_yes_it_waits_for_a_person_who_approves_with_the_line_it_prints(tmp_path: Path) -> None:
    async with ApiServer(clock=RealClock()) as production:
        config = str(kubeconfig(tmp_path, production.url))
    command = [sys.executable, "-m", "receiver.cli.main", "demo", "--output", "json"]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "KUBECONFIG": config}, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = ""
            async for raw in process.stdout:
                told = json.loads(raw)
                if "command" in told:
                    line = told["command"]
                    break
        assert " approve P-1 --reason " in line
        pairs = dict(word.split("=", 1) for word in line.split()[:2])
        headers = {"Authorization": f"Bearer {pairs['STANCH_TOKEN']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{pairs['STANCH_URL']}/api/v1/plans/P-1/approve"
            async with session.post(url, json={"reason": "it is bad"}) as response:
                assert response.status == 200
        async with asyncio.timeout(60):
            async for raw in process.stdout:
                if json.loads(raw).get("event", {}).get("event") == "Executed":
                    break
    finally:
        process.terminate()
        await process.communicate()


def test_the_demo_has_no_policies_of_its_own() -> None:
    here = Path(__file__).parent.parent.parent
    shipped = here / "policies" / "greenlang"
    assert packaged.policies() == shipped
    found = [path for path in (here / "receiver").rglob("*.yaml") if "kind: Policy" in path.read_text()]
    assert found == []
    assert hashlib.sha256((shipped / "inc-001-high-error-rate.yaml").read_bytes()).hexdigest()


@pytest.mark.parametrize("seconds", [0.0, 30.0])
async def test_the_demos_clock_runs_as_fast_as_it_is_told(seconds: float) -> None:
    clock = WorldClock(speed=6000.0)
    before = clock.now()
    await clock.sleep(timedelta(seconds=seconds))
    assert clock.now() - before >= timedelta(seconds=seconds)
    clock.run_at(0.001)
    held = clock.now()
    assert clock.now() - held < timedelta(seconds=1)
