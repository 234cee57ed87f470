"""Every command in the documentation is run, against a service with an incident in it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from exposed import exposed
from real_service import API_TOKEN, LEAD_TOKEN, ClusterProcess, ServiceProcess
from shop import firing, ill_shop, manifests, names, write_policies
from typer.testing import CliRunner

from receiver.cli.main import app

ROOT = Path(__file__).parent.parent.parent
# What security-incidents.md locks, later pages could not read: it comes last.
PAGES = sorted((ROOT / "docs").rglob("*.md"), key=lambda path: (path.stem == "security-incidents", path))
CHART = ROOT / "deploy" / "helm" / "stanch" / "README.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", CHART, *PAGES]


def commands() -> list[str]:
    """Each line behind a prompt in a console block, and each YAML block that names its file in a comment.

    As a reader would go through them; `make` has its own tests, and CI.
    """
    found: list[str] = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for kind, block in re.findall(r"```(console|yaml)\n(.*?)```", text, re.S):
            if kind == "yaml" and re.match(r"# \S+/\S+\.yaml\n", block):
                found.append(block)
            elif kind == "console":
                found += [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    return [one for one in dict.fromkeys(found) if not one.startswith("make ")]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A service with an incident in it, and one that was a security incident and has evidence."""
    reached = [*manifests(names(1)), *exposed("shop", "api-0")]
    async with ill_shop() as prometheus, ClusterProcess(tmp_path, reached) as cluster:
        service = ServiceProcess(
            tmp_path / "service",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            cluster_url=cluster.url,
            prometheus_url=prometheus.url,
            policies=write_policies(tmp_path / "policies"),
            settings={"STANCH_EVIDENCE_DIR": str(tmp_path / "evidence")},
        )
        async with service:
            async with aiohttp.ClientSession() as session:
                assert await service.post_alerts(firing("api-0"), session) == 200
            await keep_evidence(service)
            yield service


async def keep_evidence(service: ServiceProcess) -> None:
    """Incident 2 is an attack, what there is of it is kept, and it is over."""
    await until(service, "incidents/1", lambda found: True)
    body = {"title": "strange logins", "reason": "audit log", "scopes": ["namespace/shop"]}
    assert (await service.api("POST", "incidents", body, token=LEAD_TOKEN))[0] == 200
    await until(service, "incidents/2", lambda found: bool(found["evidence"]))
    for token in (API_TOKEN, LEAD_TOKEN):
        await service.api("POST", "incidents/2/release", {"reason": "rebuilt"}, token=token)
    await until(service, "incidents/2", lambda found: found["lockdown"] is None)


async def until(service: ServiceProcess, path: str, wanted: Callable[[Any], bool]) -> None:
    """Ask until the answer is as wanted."""
    for _ in range(600):
        status, found = await service.api("GET", path, token=LEAD_TOKEN)
        if status == 200 and wanted(found):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{path} never became so: {found}")


async def test_every_command_of_the_documentation_runs(served: ServiceProcess, tmp_path: Path) -> None:
    reader = tmp_path / "reader"
    reader.mkdir()
    (reader / "policies").symlink_to(ROOT / "policies")
    (reader / ".venv").symlink_to(Path(sys.prefix))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STANCH_")},
        "STANCH_URL": served.url,
        "STANCH_EVIDENCE_DIR": str(tmp_path / "evidence"),
    }
    assert len(commands()) >= 8
    for line in commands():
        if line.startswith("# "):
            # A file that the page says to write.
            (reader / line.split()[1]).write_text(line, encoding="utf-8")
            continue
        # What is owed after an attack, those say who may read it.
        token = LEAD_TOKEN if "stanch security " in line else API_TOKEN
        process = await asyncio.create_subprocess_shell(
            line, cwd=reader, env=environment | {"STANCH_TOKEN": token}, stdout=-1, stderr=-1
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, f"$ {line}\n{out.decode()}{err.decode()}"


def test_every_stanch_command_that_is_mentioned_exists() -> None:
    mentioned: set[tuple[str, ...]] = set()
    for path in DOCUMENTS:
        for text in re.findall(r"`(?:\.venv/bin/)?stanch ([^`]+)`", path.read_text(encoding="utf-8")):
            words = [word for word in shlex.split(text) if not word.startswith("-")]
            verbs = tuple(word for word in words[:2] if re.fullmatch(r"[a-z]+", word))
            if verbs:
                mentioned.add(verbs)
    assert mentioned
    for verbs in sorted(mentioned):
        result = CliRunner().invoke(app, [*verbs, "--help"])
        assert result.exit_code == 0, f"stanch {' '.join(verbs)}: {result.output}"


def test_every_link_inside_the_documentation_leads_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_make_target_that_is_mentioned_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for path in DOCUMENTS:
        for target in re.findall(r"make ([a-z]+)\b", path.read_text(encoding="utf-8")):
            if target in ("it", "a", "the", "them"):
                continue
            assert re.search(rf"^{target}:", makefile, re.M), f"{path.name} mentions make {target}"
