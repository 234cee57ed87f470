"""Asks the parts of an installation how they are, and hands the answers to whoever decides about them.

Nothing is written anywhere, nothing is sent to anybody who would be told by it, and no secret is kept.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from receiver import app
from receiver.clients import cluster as clusters
from receiver.clients.alertmanager import Alertmanager
from receiver.clients.connections import Connection
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoint, Endpoints, open_session
from receiver.clients.files import read_secret
from receiver.clients.prometheus import Prometheus
from receiver.clients.standing import StandingFile
from receiver.clients.wire import Wire
from receiver.domain.clock import Clock as OurClock
from receiver.domain.endpoints import EndpointKind
from receiver.domain.errors import PermanentError, TemporaryError, Unavailable
from receiver.domain.standing import Standing
from receiver.evidence.selection import READS as EVIDENCE
from receiver.packaged import policies as packaged
from receiver.policy.complaints import Complaint, Severity
from receiver.policy.model import PolicySet
from receiver.policy.rbac import Grant, grants
from receiver.probes.catalogue import READS
from receiver.settings import Settings
from receiver.store.looking import Looked, look_at_postgres, look_at_sqlite
from receiver.store.migrate import HEAD, sqlite_path
from receiver.trials.doctor import alertmanagers, clocks, files, rights, rules, stores
from receiver.trials.doctor.clocks import Clock
from receiver.trials.doctor.findings import Area, Finding, doubt, unknown, well, wrong
from receiver.trials.live_check import live_complaints
from receiver.web.authentication import TokenFile, sender_credentials
from remediations import registry
from remediations.isolation.registry import SPECS

# An API server holds back whoever asks more at once.
AT_ONCE = 8
# More of one kind than a person reads in one go; `stanch policy check` tells all.
SHOWN = 5

Say = Callable[[str], None]


@dataclass
class _Look:
    """One look: what it is about, and the clocks that were met on the way."""

    settings: Settings
    clock: OurClock
    clocks: list[Clock] = field(default_factory=list)


async def examine(settings: Settings, *, clock: OurClock, say: Say) -> list[Finding]:
    """Every finding about the installation of these settings; ``say`` is told what is being looked at."""
    look = _Look(settings, clock)
    say("settings and files")
    found = [*_of_settings(settings), *files.judge(_secret_files(settings)), *_of_tls(settings)]
    say("policies")
    policies, told = await asyncio.to_thread(_policies, settings)
    found += told
    say("the store")
    found += await _store(look)
    found += stores.judge_evidence(
        None if settings.evidence_dir is None else _disk(settings.evidence_dir),
        wanted=policies is not None and any(policy.security for policy in policies.policies),
    )
    found += await _standing(settings)
    async with aiohttp.ClientSession() as session:
        say("Alertmanager")
        found += await _alertmanagers(settings, session)
        say("Prometheus")
        found += await _prometheus(look, session, policies)
    say("the cluster")
    found += await _cluster(look, policies, say)
    found += clocks.judge(look.clocks)
    say("databases and endpoints")
    found += await _databases(settings)
    found += await _endpoints(settings)
    return [*found, *_telling(settings)]


def _of_settings(settings: Settings) -> list[Finding]:
    none = settings.webhook_token_file is None and settings.webhook_users_file is None
    lacking = [problem.partition(": ") for problem in app.missing(settings, senders_none=none)]
    found = [
        wrong(Area.SETTINGS, f"{name} is not set, so it does not start", fix) for name, _, fix in lacking
    ]
    if none and settings.insecure_no_auth:
        fix = "set STANCH_WEBHOOK_TOKEN_FILE and leave --insecure-no-auth out"
        found.append(doubt(Area.SETTINGS, "alerts are taken from everybody", fix))
    return found or [well(Area.SETTINGS, "it has what it takes to start")]


def _secret_files(settings: Settings) -> list[files.SecretFile]:
    named: list[tuple[str, Path | None, Callable[[Path], object]]] = [
        ("webhook_token_file", settings.webhook_token_file, lambda path: sender_credentials(path, None)),
        ("webhook_users_file", settings.webhook_users_file, lambda path: sender_credentials(None, path)),
        ("api_tokens_file", settings.api_tokens_file, TokenFile),
        ("announce_webhook_file", settings.announce_webhook_file, _an_address),
        ("pagerduty_key_file", settings.pagerduty_key_file, _something),
        ("tls_key_file", settings.tls_key_file, _something),
    ]
    return [
        *(
            _secret_file(f"STANCH_{name.upper()}", path, read)
            for name, path, read in named
            if path is not None
        ),
        # What is wrong with the two files that name these is told where they are asked.
        *(_secret_file(whose, path, _something) for whose, path in _beside(settings)),
    ]


def _secret_file(setting: str, path: Path, read: Callable[[Path], object]) -> files.SecretFile:
    try:
        read(path)
        return files.SecretFile(setting, str(path), path.stat().st_mode)
    except PermanentError as error:
        return files.SecretFile(setting, str(path), str(error))
    except OSError as error:
        return files.SecretFile(setting, str(path), f"{path} cannot be read: {error.strerror}")


def _beside(settings: Settings) -> Iterator[tuple[str, Path]]:
    """The files of passwords and tokens that the files of databases and endpoints name."""
    for name, one in _connections(settings)[0].items():
        for role in (one.monitor, one.operator):
            yield f"database {name} ({role.user})", role.password_file
    for name, endpoint in _outside(settings)[0].items():
        if endpoint.token_file is not None:
            yield f"endpoint {name}", endpoint.token_file


def _something(path: Path) -> None:
    if not read_secret(path, "secret").strip():
        raise PermanentError(f"{path} is empty")


def _an_address(path: Path) -> None:
    if not read_secret(path, "address").strip().startswith(("https://", "http://")):
        raise PermanentError(f"{path} holds no address: https://...")


def _of_tls(settings: Settings) -> list[Finding]:
    try:
        app.tls_context(settings)
    except PermanentError as error:
        return [wrong(Area.FILES, str(error), "correct STANCH_TLS_CERT_FILE, STANCH_TLS_KEY_FILE and the CA")]
    return []


def _policies(settings: Settings) -> tuple[PolicySet | None, list[Finding]]:
    try:
        loaded = app.read_policies(settings.policies)
    except PermanentError as error:
        return None, [wrong(Area.POLICIES, str(error), "set STANCH_POLICIES to a folder of policy files")]
    found = _complained(Area.POLICIES, loaded.complaints, f"stanch policy check {_folder(settings)}")
    if loaded.policies is not None:
        count = len(loaded.policies.policies)
        found.append(
            well(Area.POLICIES, f"policies that load: {count}; complaints: {len(loaded.complaints)}")
        )
    return loaded.policies, found


def _folder(settings: Settings) -> Path:
    return settings.policies or packaged()


def _complained(area: Area, complaints: tuple[Complaint, ...], fix: str) -> list[Finding]:
    """The worst first, and no more than a person reads; how many there are besides."""

    def finding(one: Complaint, sentence: str, to_do: str) -> Finding:
        return (wrong if one.severity is Severity.ERROR else doubt)(area, sentence, to_do)

    ordered = sorted(complaints, key=lambda one: one.severity is not Severity.ERROR)
    found = [
        finding(one, f"{one.file}:{one.line}: {one.message}", one.hint or fix) for one in ordered[:SHOWN]
    ]
    if more := ordered[SHOWN:]:
        found.append(finding(more[0], f"{len(more)} more complaints", fix))
    return found


async def _store(look: _Look) -> list[Finding]:
    from receiver.store.postgres import USUAL

    settings = look.settings
    if settings.store.startswith("sqlite:///"):
        path = sqlite_path(settings.store).absolute()
        try:
            told: Looked | str | None = await asyncio.to_thread(look_at_sqlite, path)
        except Unavailable as error:
            told = str(error)
        facts = stores.StoreFacts(f"SQLite {path}", told, _disk(path.parent))
    else:
        facts = stores.StoreFacts(_shown(settings.store), await _postgres(look))
    most = USUAL.sessions + USUAL.extra_sessions
    return stores.judge(facts, head=HEAD, sessions=most, kept_bytes=settings.retention_bytes)


async def _postgres(look: _Look) -> Looked | str:
    from receiver.store.postgres import Patience, open_postgres

    store = open_postgres(look.settings.store, Patience(sessions=1, extra_sessions=0))
    try:
        # The first look opens the session, which may take long; the clock is for the second.
        await store.read(look_at_postgres)
        before = look.clock.now()
        told = await store.read(look_at_postgres)
    except Unavailable as error:
        return str(error)
    finally:
        await store.close()
    assert told.at is not None
    look.clocks.append(Clock("the store", told.at, before, look.clock.now()))
    return told


def _disk(folder: Path) -> stores.Disk:
    """Of a folder that is not there yet: of the nearest one above that is."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return stores.Disk(str(folder), os.access(there, os.W_OK | os.X_OK), shutil.disk_usage(there).free)


async def _standing(settings: Settings) -> list[Finding]:
    if settings.standing_file is None or settings.security_keys is None:
        return []
    told = await StandingFile(settings.standing_file, settings.security_keys).read()
    if isinstance(told, Standing):
        return [well(Area.FILES, f"the standing approval of {told.by} counts")]
    fix = f"stanch standing check {settings.standing_file}"
    return [doubt(Area.FILES, f"the standing approval counts for nothing: {told}", fix)]


async def _alertmanagers(settings: Settings, session: aiohttp.ClientSession) -> list[Finding]:
    async def ask(url: str) -> alertmanagers.Peer:
        try:
            return alertmanagers.Peer(_shown(url), await Alertmanager(session, url).in_force())
        except TemporaryError as error:
            return alertmanagers.Peer(_shown(url), str(error), answers=False)
        except PermanentError as error:
            return alertmanagers.Peer(_shown(url), str(error))

    wanted = alertmanagers.Wanted(
        settings.alertmanager_receiver,
        by_token=settings.webhook_token_file is not None,
        by_password=settings.webhook_users_file is not None,
    )
    return alertmanagers.judge(tuple(await asyncio.gather(*map(ask, settings.alertmanager_urls))), wanted)


async def _prometheus(
    look: _Look, session: aiohttp.ClientSession, policies: PolicySet | None
) -> list[Finding]:
    url = look.settings.prometheus_url
    if url is None:
        return []
    prometheus, shown, folder = Prometheus(session, url), _shown(url), _folder(look.settings)
    try:
        before = look.clock.now()
        look.clocks.append(Clock("Prometheus", await prometheus.now(), before, look.clock.now()))
        known = await prometheus.alerting_rules()
        said = () if policies is None else await live_complaints(folder, url, now=look.clock.now())
    except (TemporaryError, PermanentError) as error:
        fix = f"is it up, and reachable from here? curl {shown}/-/ready; else correct STANCH_PROMETHEUS_URL"
        return [wrong(Area.PROMETHEUS, f"{shown}: {error}", fix)]
    if policies is None:
        return [well(Area.PROMETHEUS, f"{shown} answers")]
    live = f"stanch policy check {folder} --live --prometheus {shown}"
    asked = _complained(Area.PROMETHEUS, said, live)
    asked = asked or [well(Area.PROMETHEUS, f"{shown} answers every query of the policies")]
    return [*rules.judge(policies.policies, known), *asked]


async def _cluster(look: _Look, policies: PolicySet | None, say: Say) -> list[Finding]:
    settings = look.settings
    if settings.kube_context is None:
        return []
    try:
        async with _connected(settings) as wires:
            before = look.clock.now()
            said = await wires[rights.Who.OURSELVES].clock()
            if said is not None:
                after = look.clock.now()
                look.clocks.append(Clock("the API server", said, before, after, step=timedelta(seconds=1)))
            reached = well(Area.CLUSTER, f"the API server of {settings.kube_context} answers")
            if policies is None:
                fix = "correct the policies first"
                return [reached, unknown(Area.RIGHTS, "which rights are needed, policies say", fix)]
            return [reached, *await _rights(settings, wires, policies, say)]
    except (TemporaryError, PermanentError) as error:
        fix = "correct STANCH_KUBE_CONTEXT or KUBECONFIG; kubectl config get-contexts lists what there is"
        return [wrong(Area.CLUSTER, f"{settings.kube_context}: {error}", fix)]


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Mapping[rights.Who, Wire]]:
    """One connection, with an identity for each role. Raises PermanentError without credentials."""
    door = await clusters.connect(context=settings.kube_context)
    try:
        accounts = _accounts(settings)
        yield {who: Wire(door.wire.api, act_as=accounts.of(who)) for who in rights.Who}
    finally:
        await door.close()


def _accounts(settings: Settings) -> rights.Accounts:
    return rights.Accounts(settings.reader, settings.executor, settings.isolator)


async def _rights(
    settings: Settings, wires: Mapping[rights.Who, Wire], policies: PolicySet, say: Say
) -> list[Finding]:
    of_cluster = settings.token_audience is not None
    others = settings.oidc_issuer is not None or settings.proxy_user_header is not None
    asked = rights.questions(
        _needed(policies),
        _accounts(settings),
        reviews_tokens=of_cluster,
        reviews_access=of_cluster or others,
    )
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(one: rights.Asked) -> bool | str:
        async with room:
            say(f"rights: {one}")
            try:
                return await wires[one.who].may(one.permission, one.namespace, one.name)
            except (TemporaryError, PermanentError) as error:
                return str(error)

    answers = dict(zip(asked, await asyncio.gather(*map(ask, asked)), strict=True))
    policies_at = None if settings.policies is None else str(settings.policies)
    return rights.judge(answers, _accounts(settings), policies=policies_at)


def _needed(policies: PolicySet) -> list[Grant]:
    isolations = {spec.act: spec for spec in SPECS}
    return grants(policies, registry.catalogue(), READS, EVIDENCE, isolations)


def _connections(settings: Settings) -> tuple[dict[str, Connection], list[str]]:
    """The databases of the file, or every complaint about it."""
    try:
        return app.connections(settings), []
    except PermanentError as error:
        return {}, str(error).splitlines()


def _outside(settings: Settings) -> tuple[dict[str, Endpoint], list[str]]:
    """The endpoints of the file, or every complaint about it."""
    try:
        return app.endpoints(settings), []
    except PermanentError as error:
        return {}, str(error).splitlines()


async def _databases(settings: Settings) -> list[Finding]:
    known, complaints = _connections(settings)
    databases = Databases(known)

    async def ask(name: str) -> Finding:
        try:
            usage = await databases.usage(name)
        except (TemporaryError, PermanentError) as error:
            fix = "correct its entry in STANCH_DATABASES_FILE, or its roles: docs/postgres-roles.sql"
            return wrong(Area.DATABASES, str(error), fix)
        words = f"{name} is seen by its monitor: {usage['used']} of {usage['usable']} sessions are used"
        return well(Area.DATABASES, words)

    try:
        found = [wrong(Area.DATABASES, one, "correct STANCH_DATABASES_FILE") for one in complaints]
        return [*found, *await asyncio.gather(*map(ask, known))]
    finally:
        await databases.close()


async def _endpoints(settings: Settings) -> list[Finding]:
    known, complaints = _outside(settings)
    found = [wrong(Area.ENDPOINTS, one, "correct STANCH_ENDPOINTS_FILE") for one in complaints]
    async with open_session() as session:
        endpoints = Endpoints(known, session)

        async def ask(name: str, kind: EndpointKind) -> Finding:
            if kind is EndpointKind.WARM_UP:
                fix = "try it yourself, with its address: curl -i URL"
                return unknown(Area.ENDPOINTS, f"{name} is asked to warm it up, and never else", fix)
            try:
                answered = await endpoints.ask(name, kind)
            except (TemporaryError, PermanentError) as error:
                return wrong(Area.ENDPOINTS, str(error), "correct its entry in STANCH_ENDPOINTS_FILE")
            if answered.well:
                return well(Area.ENDPOINTS, f"{name} answers")
            fix = "it may be ill now; if that is always so, correct its entry in STANCH_ENDPOINTS_FILE"
            return doubt(Area.ENDPOINTS, f"{name} answers with {answered.status}", fix)

        return [*found, *await asyncio.gather(*(ask(name, one.kind) for name, one in known.items()))]


def _telling(settings: Settings) -> list[Finding]:
    named = (("a webhook", settings.announce_webhook_file), ("PagerDuty", settings.pagerduty_key_file))
    told = [name for name, path in named if path is not None]
    if told:
        found = [well(Area.TELLING, f"messages go to {' and '.join(told)}; nothing was sent to try it")]
    else:
        nobody = "nobody would be told: incidents and questions wait for whoever looks"
        fix = "set STANCH_ANNOUNCE_WEBHOOK_FILE, STANCH_PAGERDUTY_KEY_FILE, or both"
        found = [doubt(Area.TELLING, nobody, fix)]
    if settings.base_url is None:
        where = f"links in messages lead to http://{settings.listen}"
        fix = "set STANCH_BASE_URL to the address at which people reach it"
        found.append(doubt(Area.TELLING, where, fix))
    return found


def _shown(url: str) -> str:
    """An address without a user, a password or a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
