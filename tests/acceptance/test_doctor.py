"""`stanch doctor` as people run it, on an installation of real parts that is well, and on a broken one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from real_alertmanager import AlertmanagerSettings, RealAlertmanager
from real_service import SENDER_TOKEN, ServiceProcess
from rights import EXECUTOR_ACCOUNT, READER_ACCOUNT, TOKEN, bind
from shop import write_policies

from receiver.app import read_policies
from receiver.clients.wire import SELF_REVIEW
from receiver.demo.kubernetes import ApiServer, RealClock
from receiver.demo.prometheus import AlertingRule, PrometheusServer, Sample, Target
from receiver.domain.plans import Permission
from receiver.policy.admission import ISOLATOR_ACCOUNT
from receiver.policy.rbac import Grant, grants, roles
from receiver.probes.catalogue import READS
from receiver.store import migrate
from remediations.registry import catalogue

SECRETS = (SENDER_TOKEN, "token-of-carol", "hunter2")


def a_shop() -> PrometheusServer:
    target = Target(job="shop", instance="shop:80", collect=lambda at: [Sample("shop_error_ratio", {}, 0.1)])
    rule = AlertingRule(name="ShopErrors", expr="shop_error_ratio > 0.05")
    prometheus = PrometheusServer(clock=RealClock(), targets=[target], rules=[rule])
    prometheus.scrape(datetime.now(UTC))
    return prometheus


def granted(policies: Path) -> list[Grant]:
    loaded = read_policies(policies).policies
    assert loaded is not None
    return grants(loaded, catalogue(), READS)


def installed(folder: Path, settings: Mapping[str, str], **more: str) -> dict[str, str]:
    """The environment of a service, with its secrets closed to others and a token for the cluster."""
    for name in ("webhook-tokens", "api-tokens.yaml"):
        (folder / name).chmod(0o600)
    known = folder / "kubeconfig"
    known.write_text(known.read_text().replace("user: {}", f"user: {{token: {TOKEN}}}"))
    return {**settings, "STANCH_READER": READER_ACCOUNT, "STANCH_EXECUTOR": EXECUTOR_ACCOUNT, **more}


async def doctor(environment: Mapping[str, str], *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "receiver.cli.main", "doctor", *words]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert not err, err.decode()
    assert process.returncode is not None
    assert not any(secret in out.decode() for secret in SECRETS)
    return process.returncode, out.decode()


def sentences(out: str, verdict: str) -> str:
    found: Sequence[Mapping[str, Any]] = json.loads(out)["findings"]
    return "\n".join(f"{one['sentence']} -> {one['fix']}" for one in found if one["verdict"] == verdict)


def what_is_there(folder: Path) -> dict[str, bytes]:
    """Every file and what it holds; Alertmanager's own come and go."""
    found = [path for path in folder.rglob("*") if path.is_file() and "am" not in path.parts]
    return {str(path): path.read_bytes() for path in found}


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'stanch.sqlite3'}"
    migrate.upgrade(url)
    return url


async def test_an_installation_that_is_well(tmp_path: Path, store: str) -> None:
    policies = write_policies(tmp_path / "policies")
    shop = policies / "shop.yaml"
    wider, closer = """'alertname="ShopErrors"'""", """'alertname="ShopErrors"', 'namespace="shop"'"""
    shop.write_text(shop.read_text().replace(wider, closer))
    told = AlertmanagerSettings(receiver_url="http://127.0.0.1:1/api/v1/alerts", bearer_token=SENDER_TOKEN)
    manager = RealAlertmanager(tmp_path / "am", told)
    api = ApiServer(clock=RealClock())
    bind(api, roles(granted(policies)))
    async with a_shop() as prometheus, api, manager:
        (tmp_path / "chat").write_text("https://chat.example.com/hunter2\n")
        (tmp_path / "chat").chmod(0o600)
        service = ServiceProcess(
            tmp_path / "service",
            store=store,
            cluster_url=api.url,
            prometheus_url=prometheus.url,
            policies=policies,
            settings={
                "STANCH_ALERTMANAGER_URLS": manager.url,
                "STANCH_ALERTMANAGER_RECEIVER": "stanch",
                "STANCH_ANNOUNCE_WEBHOOK_FILE": str(tmp_path / "chat"),
                "STANCH_BASE_URL": "https://stanch.example.com",
            },
        )
        environment = installed(service.folder, service.settings)
        before = what_is_there(tmp_path)
        code, out = await doctor(environment)
        assert (code, "wrong" in out, "warning" in out) == (0, False, False), out
        assert "\x1b" not in out
        assert all(words in out for words in ("resolves too", "all 8 rights", "agree about the time"))
        assert {call.path for call in api.calls if call.method != "GET"} == {SELF_REVIEW}
        assert what_is_there(tmp_path) == before


async def test_an_installation_that_is_broken_everywhere(tmp_path: Path, store: str) -> None:
    policies = write_policies(tmp_path / "policies")
    told = AlertmanagerSettings(receiver_url="http://127.0.0.1:1/wrong", send_resolved=False)
    manager = RealAlertmanager(tmp_path / "am", told)
    api = ApiServer(clock=RealClock())
    lacking = [one for one in granted(policies) if one.permission.verb != "patch"]
    bind(api, roles([*lacking, Grant("stanch-executor", "shop", Permission("", "pods", "delete"))]))
    async with api, manager:
        service = ServiceProcess(
            tmp_path / "service",
            store="postgresql://ada:hunter2@127.0.0.1:1/stanch",
            cluster_url=api.url,
            prometheus_url="http://ada:hunter2@127.0.0.1:1",
            policies=policies,
            settings={"STANCH_ALERTMANAGER_URLS": manager.url, "STANCH_ALERTMANAGER_RECEIVER": "stanch"},
        )
        # Whoever may not act as an isolator is told.
        environment = installed(service.folder, service.settings, STANCH_ISOLATOR="mallory")
        (service.folder / "webhook-tokens").chmod(0o644)
        assert environment["STANCH_ISOLATOR"] != ISOLATOR_ACCOUNT
        code, out = await doctor(environment, "--output", "json")
        assert (code, json.loads(out)["ok"]) == (1, False)
        wrong, warned = sentences(out, "wrong"), sentences(out, "warning")
        for words in (
            "send_resolved: false",
            "does not go to /api/v1/alerts",
            "no credentials",
            "postgresql://127.0.0.1:1/stanch",
            "http://127.0.0.1:1: Prometheus cannot be reached",
            "patch deployments.apps",
            f"stanch rbac {policies} | kubectl apply -f -",
            "may not act as users mallory",
        ):
            assert words in wrong, f"{words}\n{wrong}"
        for words in ("chmod o-r", "delete pods", "nobody would be told", "STANCH_BASE_URL"):
            assert words in warned, f"{words}\n{warned}"


async def test_settings_that_cannot_be_read_are_exit_code_two(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "receiver.cli.main", "doctor"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STANCH_")}
    environment = {**kept, "STANCH_LISTNE": "x"}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=-1, stderr=-1)
    _, err = await process.communicate()
    assert (process.returncode, b"STANCH_LISTNE" in err) == (2, True)
