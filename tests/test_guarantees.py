"""Security incidents are isolated, nothing else: each guarantee is held by something that fails without it.

Here are those that no run of the pipeline shows: types, import contracts, and as whom the service isolates.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from real_service import kubeconfig, write_credentials

from receiver.app import serving
from receiver.demo.kubernetes import ApiServer, RealClock
from receiver.domain.isolation import DENY_ALL, Deny
from receiver.domain.plans import ObjectRef
from receiver.policy.admission import ISOLATOR_ACCOUNT
from receiver.settings import Settings

ROOT = Path(__file__).parent.parent
PRELUDE = """
from receiver.clients.cluster import Cluster
from receiver.clients.isolator import IsolatorDoor
from receiver.domain.approved_isolation import ApprovedIsolation
from receiver.domain.approved import ApprovedPlan
from receiver.domain.isolation import Block, Isolating, IsolationPlan, Relabel
from receiver.domain.plans import EvictStep, PatchStep, Plan
from receiver.policy import isolating as rules
from receiver.policy.approval import approve_by_rule
from datetime import datetime


async def shown(
    door: IsolatorDoor, cluster: Cluster, plan: Plan, isolation: IsolationPlan, one: Isolating, now: datetime,
    approved: ApprovedPlan, relabel: Relabel, block: Block, patch: PatchStep, evict: EvictStep,
) -> None:
"""
RIGHT = (
    "rules.approved(one, isolation)",
    "ApprovedIsolation('S-1', isolation, 'lena')",
    "await door.carry_out(relabel, {}, intent='i')",
    "await door.carry_out(block, None, intent='i')",
    "approve_by_rule('P-1', plan, now=now)",
    "await cluster.evict(evict, dry_run=False)",
)
WRONG = {
    "a cure is approved as an isolation": "rules.approved(one, plan)",
    "an approved isolation holds a cure": "ApprovedIsolation('S-1', plan, 'lena')",
    "an approved cure stands for an approved isolation": "held: ApprovedIsolation = approved",
    "a plan of an isolation holds the step of a cure": "isolation.steps = (patch,)",
    "a block says more than addresses": "Block(block.target, {}, (), now, 1, spec={})",
    "a block says what is let in": "block.ingress",
    "the isolator patches": "await door.carry_out(patch, {}, intent='i')",
    "the isolator evicts": "await door.carry_out(evict, {}, intent='i')",
    "the isolator has a way to delete": "await door.delete(relabel)",
    "the isolator has a way to evict": "await door.evict(evict)",
    "an isolation is approved as a cure": "approve_by_rule('P-1', isolation, now=now)",
    "the door of cures isolates": "await cluster.patch(relabel, current={}, marker={}, dry_run=False)",
    "an isolation is a cure": "cure: Plan = isolation",
    "a cure is an isolation": "other: IsolationPlan = plan",
}


def test_what_heals_and_what_isolates_cannot_be_taken_for_one_another(tmp_path: Path) -> None:
    lines = [*RIGHT, *WRONG.values()]
    module = tmp_path / "mixed_up.py"
    module.write_text(PRELUDE + "".join(f"    {line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(module)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    first = PRELUDE.count("\n") + 1
    refused = {int(found) - first for found in re.findall(r"mixed_up\.py:(\d+): error", told)}
    assert {lines[index] for index in refused} == set(WRONG.values()), told


# One import too many, and the contract that does not let it pass.
PLANTED = (
    ("remediations/isolation/node.py", "remediations.kubernetes.evict", "Isolation knows no cure"),
    ("remediations/kubernetes/evict.py", "remediations.isolation.node", "No cure knows isolation"),
    (
        "receiver/pipeline/isolating.py",
        "receiver.pipeline.execution",
        "Isolating and healing have a door each",
    ),
    (
        "receiver/pipeline/owing.py",
        "receiver.domain.approved_isolation",
        "An approved isolation comes from the rules of isolation",
    ),
    (
        "receiver/pipeline/people.py",
        "receiver.domain.approved",
        "An approved plan comes from the approval rules",
    ),
)


def test_an_import_too_many_breaks_the_contract_that_stands_against_it(tmp_path: Path) -> None:
    """In a copy, all at once; without them every contract is kept, which the checks look at."""
    for package in ("receiver", "remediations"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, planted, _ in PLANTED:
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write(f"import {planted}\n")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    broken = {line.removesuffix("BROKEN").strip() for line in told.splitlines() if line.endswith("BROKEN")}
    assert broken == {contract for _, _, contract in PLANTED}, told


async def test_the_service_isolates_as_the_account_that_is_named_for_it_and_as_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_credentials(tmp_path)
    deny = Deny(ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "shop", DENY_ALL))
    async with ApiServer(clock=RealClock()) as api:
        default = "kubernetes_asyncio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(default, str(kubeconfig(tmp_path, api.url)))
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            prometheus_url=api.url,
            kube_context="test",
            isolator=ISOLATOR_ACCOUNT,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
        )
        async with serving(settings) as service:
            await service.world.cluster.get(ObjectRef("v1", "Pod", "shop", "job"))
            await service.world.isolator.carry_out(deny, None, intent="i")
        users = {call.user for call in api.calls if call.method == "POST"}
        assert users == {ISOLATOR_ACCOUNT}
        assert ISOLATOR_ACCOUNT not in {call.user for call in api.calls if call.method == "GET"}
