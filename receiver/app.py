"""Where concrete things are built: one process of the service, put together from its settings.

Tests and the demo start the same thing in their own process, with doors and a clock of their own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web

from receiver.announce.pagerduty import PagerDuty
from receiver.announce.webhook import Webhook
from receiver.clients import cluster
from receiver.clients.alertmanager import Alertmanager
from receiver.clients.connections import Connection, read_connections
from receiver.clients.database import Databases
from receiver.clients.endpoints import Endpoint, Endpoints, open_session, read_endpoints
from receiver.clients.isolator import Isolator
from receiver.clients.prometheus import Prometheus
from receiver.clients.standing import StandingFile
from receiver.clients.wire import Wire
from receiver.domain.clock import Clock
from receiver.domain.errors import PermanentError, Unavailable
from receiver.domain.standing import Standing
from receiver.evidence.capture import Evidence
from receiver.evidence.capture import Limits as EvidenceLimits
from receiver.evidence.vault import Vault
from receiver.packaged import policies as packaged_policies
from receiver.packaged import read_files, unreadable
from receiver.pipeline.counters import Counters
from receiver.pipeline.duties import Duties, Retention
from receiver.pipeline.intake import Intake
from receiver.pipeline.reloading import Reloading
from receiver.pipeline.tracing import NoTraces, Tracer
from receiver.pipeline.worker import Worker
from receiver.pipeline.world import Destination, Loaded, Place, Timing, World, no_standing
from receiver.policy.loading import Loaded as LoadedFiles
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from receiver.settings import Settings
from receiver.store import migrate
from receiver.store.engine import Store
from receiver.store.sqlite import open_sqlite, release_dead_leases
from receiver.web import api
from receiver.web.authentication import (
    Authenticator,
    OneOf,
    SenderCredentials,
    TokenFile,
    sender_credentials,
)
from receiver.web.cluster_access import ClusterAccess
from receiver.web.cluster_identities import ClusterIdentities
from receiver.web.id_tokens import IdTokens, Provider, username_prefix
from receiver.web.keys import COUNTERS, HEALTH, INTAKE, LIMITS, PEOPLE, PROXY, SENDERS, WORLD, Health, Limits
from receiver.web.proxy import Proxy
from receiver.web.routes import METRICS, ROUTES, WATCHED
from remediations import registry
from remediations.isolation import registry as isolations

log = structlog.get_logger(__name__)


class WallClock:
    """The incident clock of the real thing: the machine's own time."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(max(0.0, duration.total_seconds()))


@dataclass
class Service:
    """A running process: where it listens, and its parts for those who started it."""

    url: str
    world: World
    counters: Counters
    worker: Worker
    duties: Duties
    health: Health
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    metrics_url: str | None = None


def policy_files(folder: Path | None) -> dict[str, str]:
    """The texts of a folder's policy files (None: the packaged ones). Raises PermanentError without any."""
    try:
        files = read_files(folder if folder is not None else packaged_policies())
    except OSError as error:
        raise PermanentError(f"policies: {unreadable(error)}") from error
    if not files:
        raise PermanentError(f"policies: there is no YAML file in {folder}")
    return files


def read_policies(folder: Path | None) -> LoadedFiles:
    """The policies of a folder (None: the packaged ones), checked. Raises PermanentError without any."""
    return load(policy_files(folder), catalogue=registry.catalogue(), probe_facts=FACTS)


def connections(settings: Settings) -> dict[str, Connection]:
    """The databases that the settings name; none without a file. Raises PermanentError."""
    return {} if settings.databases_file is None else read_connections(settings.databases_file)


def endpoints(settings: Settings) -> dict[str, Endpoint]:
    """The endpoints that the settings name; none without a file. Raises PermanentError."""
    return {} if settings.endpoints_file is None else read_endpoints(settings.endpoints_file)


async def connect_cluster(settings: Settings) -> cluster.Cluster:
    """The cluster that the settings name; nothing is taken from a default place."""
    return await cluster.connect(
        context=settings.kube_context, act_as=settings.reader, write_as=settings.executor
    )


@asynccontextmanager
async def serving(
    settings: Settings,
    *,
    clock: Clock | None = None,
    door: cluster.Cluster | None = None,
    timing: Timing | None = None,
    store: Store | None = None,
    extra_destinations: Sequence[Destination] = (),
    people: Authenticator | None = None,
    preparing: migrate.Preparing | None = None,
) -> AsyncIterator[Service]:
    """One process of the service, serving until the context ends, then drained.

    ``preparing`` is the store's upgrade where the caller has begun it already.
    Raises PermanentError with all complaints where it cannot start.
    """
    senders = sender_credentials(settings.webhook_token_file, settings.webhook_users_file)
    problems = missing(
        settings, senders_none=senders.none, has_door=door is not None, has_people=people is not None
    )
    if problems:
        if preparing is not None:
            preparing.stop()
        raise PermanentError("\n".join(problems))
    databases = Databases(connections(settings))
    outside = endpoints(settings)
    counters = Counters()
    async with AsyncExitStack() as stack:
        # Closed last, as everything else still says what it does.
        tracer = _tracer(settings, counters, stack)
        stack.push_async_callback(databases.close)
        opening: asyncio.Task[Store] | None = None
        if store is None:
            # Migrating runs in a process of its own: meanwhile the policies are read here.
            loop = asyncio.get_running_loop()
            opening = asyncio.create_task(
                asyncio.to_thread(open_store, settings.store, loop, preparing), name="open-store"
            )
            stack.push_async_callback(_close_opened, opening)
        loaded = await asyncio.to_thread(read_policies, settings.policies)
        if loaded.policies is None:
            raise PermanentError("\n".join(str(complaint) for complaint in loaded.complaints))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=200))
        )
        asking = await stack.enter_async_context(open_session())
        if door is None:
            door = await connect_cluster(settings)
            stack.push_async_callback(door.close)
        isolating = door
        if settings.isolator is not None:
            isolating = await cluster.connect(context=settings.kube_context, act_as=settings.isolator)
            stack.push_async_callback(isolating.close)
        # About people we ask as ourselves, and over a connection of its own: whoever sends many tokens must
        # not keep a cure from its cluster.
        asking_about = door
        if settings.kube_context is not None and _knows_others(settings):
            asking_about = await cluster.connect(context=settings.kube_context)
            stack.push_async_callback(asking_about.close)
        about_people = Wire(asking_about.wire.api)
        if store is None:
            assert opening is not None
            store = await opening
        stack.push_async_callback(store.close)
        if store.name == "sqlite":
            await store.write(release_dead_leases)
        door_outside = Endpoints(outside, asking)
        assert settings.prometheus_url is not None
        world = World(
            owner=f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}",
            store=store,
            clock=clock or WallClock(),
            cluster=door,
            prometheus=Prometheus(session, settings.prometheus_url),
            alertmanagers=[Alertmanager(session, url) for url in settings.alertmanager_urls],
            remediations=registry.build(door, databases, door_outside),
            catalogue=registry.catalogue(),
            loaded=Loaded(loaded.policies, since=(clock or WallClock()).now()),
            destinations=[*_destinations(settings, session), *extra_destinations],
            place=_place(settings),
            timing=timing or Timing(reconcile=settings.reconcile_every),
            databases=databases,
            endpoints=door_outside,
            evidence=_evidence(settings),
            isolations=isolations.build(door, _monitoring(settings)),
            isolator=Isolator(isolating.writing),
            standing=_standing(settings),
            access=ClusterAccess(about_people),
            tracer=tracer,
        )
        worker = Worker(world, counters)
        duties = Duties(
            world,
            counters,
            on_joined=worker.wake,
            retention=Retention(settings.retention, settings.retention_bytes),
        )
        health = Health()
        application = build_application(world, counters, senders, duties, health, settings)
        application[PEOPLE] = (
            people if people is not None else _people(settings, about_people, session, world.clock)
        )
        metrics_url: str | None = None
        if settings.metrics_address is not None:
            watching, metrics_url = await _listening(
                build_watching(world, counters, health, application[INTAKE]),
                settings.metrics_address,
                name="STANCH_METRICS_LISTEN",
            )
            # Whoever asks whether we are ready is to hear that we are stopping: it is closed last.
            stack.push_async_callback(watching.cleanup)
        runner, url = await _listening(
            application, settings.address, name="STANCH_LISTEN", context=tls_context(settings)
        )
        stack.push_async_callback(runner.cleanup)
        duties.start()
        tasks = [
            asyncio.create_task(worker.run(), name="worker"),
            asyncio.create_task(
                _reloading(world, counters, worker, settings.policies).run(), name="policies"
            ),
        ]
        if store.name == "postgresql":
            from receiver.pipeline.watch import Watch

            watch = Watch(world, worker.wake)
            tasks.append(asyncio.create_task(watch.run(), name="watch"))
        log.info(
            "serving", event_code="serving", url=url, store=store.name, policies=len(loaded.policies.policies)
        )
        try:
            yield Service(url, world, counters, worker, duties, health, metrics_url=metrics_url)
        finally:
            # Stop taking first, then finish what is held, then let go of the store.
            health.draining = True
            for site in list(runner.sites):
                await site.stop()
            try:
                async with asyncio.timeout(settings.shutdown_within.total_seconds()):
                    await worker.drain()
            except TimeoutError:
                log.warning("work was left to its leases", event_code="drain_timeout", held=worker.busy)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await duties.stop()


def open_store(
    url: str, loop: asyncio.AbstractEventLoop, preparing: migrate.Preparing | None = None
) -> Store:
    """The store of this address, brought to this release's schema; called in a thread of its own."""
    (preparing or migrate.begin(url)).finish()

    async def opening() -> Store:
        if url.startswith("sqlite:///"):
            return open_sqlite(migrate.sqlite_path(url))
        # Its driver weighs eight megabytes that the embedded store does not need.
        from receiver.store.postgres import open_postgres

        return open_postgres(url)

    return asyncio.run_coroutine_threadsafe(opening(), loop).result()


def build_application(
    world: World,
    counters: Counters,
    senders: SenderCredentials,
    duties: Duties,
    health: Health,
    settings: Settings,
) -> web.Application:
    """The web application, without a port."""
    application = web.Application(
        middlewares=[api.errors, api.authenticate], client_max_size=settings.max_body_bytes
    )
    application[WORLD] = world
    application[COUNTERS] = counters
    application[SENDERS] = senders
    application[HEALTH] = health
    application[LIMITS] = Limits(settings.max_body_bytes)
    application[PROXY] = _proxy(settings)
    application[INTAKE] = Intake(
        world.store, world.clock, max_bytes_in_flight=settings.max_bytes_in_flight, on_kept=duties.kept
    )
    for route in ROUTES:
        if settings.metrics_listen is None or route.path != METRICS:
            application.router.add_route(route.method, route.path, route.handler)
    return application


def build_watching(world: World, counters: Counters, health: Health, intake: Intake) -> web.Application:
    """What whoever watches us may ask without credentials, for a port that senders do not reach."""
    application = web.Application(middlewares=[api.errors])
    application[WORLD] = world
    application[COUNTERS] = counters
    application[HEALTH] = health
    application[INTAKE] = intake
    for route in ROUTES:
        if route.path in WATCHED:
            application.router.add_route(route.method, route.path, route.handler)
    return application


async def _listening(
    application: web.Application,
    address: tuple[str, int],
    *,
    name: str,
    context: ssl.SSLContext | None = None,
) -> tuple[web.AppRunner, str]:
    """The application on this address, and its URL from this machine. Raises PermanentError."""
    host, port = address
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, handler_cancellation=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        raise PermanentError(f"{name}: cannot listen on {host}:{port}: {error.strerror}") from error
    bound = runner.addresses[0][1]
    scheme = "http" if context is None else "https"
    return runner, f"{scheme}://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{bound}"  # noqa: S104


def _reloading(world: World, counters: Counters, worker: Worker, folder: Path | None) -> Reloading:
    return Reloading(
        world,
        counters,
        texts=lambda: policy_files(folder),
        load=lambda texts: load(texts, catalogue=registry.catalogue(), probe_facts=FACTS),
        on_taken=worker.wake,
    )


async def _close_opened(opening: asyncio.Task[Store]) -> None:
    """Let go of a store that was opened, whatever ended the start; closing twice does no harm."""
    try:
        store = await opening
    except (PermanentError, Unavailable):
        return
    await store.close()


def missing(
    settings: Settings, *, senders_none: bool, has_door: bool = False, has_people: bool = False
) -> list[str]:
    """What a process with these settings lacks to serve: the setting's name and what to do, each."""
    problems: list[str] = []
    if settings.prometheus_url is None:
        problems.append("STANCH_PROMETHEUS_URL: name the Prometheus that severity and verification ask")
    if settings.kube_context is None and not has_door:
        problems.append("STANCH_KUBE_CONTEXT: name the cluster: a context of KUBECONFIG, or in-cluster")
    if senders_none and not settings.insecure_no_auth:
        problems.append(
            "STANCH_WEBHOOK_TOKEN_FILE: name a file of tokens (or STANCH_WEBHOOK_USERS_FILE), "
            "or accept everybody with --insecure-no-auth"
        )
    if settings.standing_file is not None and settings.security_keys is None:
        problems.append(
            "STANCH_SECURITY_KEYS: name the folder of the keys that may sign STANCH_STANDING_FILE"
        )
    if settings.api_tokens_file is None and not _knows_others(settings) and not has_people:
        problems.append(
            "STANCH_API_TOKENS_FILE: name a file of API identities: a list of {token, name, groups}; "
            "or STANCH_TOKEN_AUDIENCE, for those of the cluster, STANCH_OIDC_ISSUER, for those of an "
            "identity provider, or STANCH_PROXY_USER_HEADER, for those whom a proxy logs in"
        )
    if settings.traces_endpoint is not None and not _has_exporter():
        problems.append(
            "STANCH_TRACES_ENDPOINT: what sends traces is not installed: pip install 'stanch[traces]'"
        )
    return problems


def _has_exporter() -> bool:
    """Whether the extra ``traces`` is installed; nothing of it is imported by asking but empty packages."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def _tracer(settings: Settings, counters: Counters, stack: AsyncExitStack) -> Tracer:
    if settings.traces_endpoint is None:
        return NoTraces()
    # Its libraries weigh a dozen megabytes, and are there only where the extra is installed.
    from receiver.traces import Traces

    traces = Traces(settings.traces_endpoint, share=settings.traces_share, counters=counters)
    stack.push_async_callback(traces.close)
    return traces


def _knows_others(settings: Settings) -> bool:
    """Whether anybody but those of the token file may be known, whom the cluster is asked about."""
    ways = (settings.token_audience, settings.oidc_issuer, settings.proxy_user_header)
    return any(way is not None for way in ways)


def _proxy(settings: Settings) -> Proxy | None:
    if settings.proxy_user_header is None:
        return None
    groups, certificate = settings.proxy_groups_header or "", settings.proxy_certificate or ""
    return Proxy(settings.proxy_user_header, groups, certificate)


def _people(
    settings: Settings, about_people: Wire, session: aiohttp.ClientSession, clock: Clock
) -> Authenticator:
    """Those of the file, then those of the provider, then those of the cluster."""
    asked: list[Authenticator] = []
    if settings.api_tokens_file is not None:
        asked.append(TokenFile(settings.api_tokens_file))
    if settings.oidc_issuer is not None:
        provider = Provider(
            issuer=settings.oidc_issuer,
            client_id=settings.oidc_client_id,
            username_claim=settings.oidc_username_claim,
            username_prefix=username_prefix(
                settings.oidc_username_prefix, settings.oidc_issuer, settings.oidc_username_claim
            ),
            groups_claim=settings.oidc_groups_claim,
            groups_prefix=settings.oidc_groups_prefix,
        )
        asked.append(IdTokens(session, provider, clock))
    if settings.token_audience is not None:
        asked.append(ClusterIdentities(about_people, audience=settings.token_audience))
    return OneOf(tuple(asked))


def _place(settings: Settings) -> Place:
    return Place(
        cluster=settings.cluster,
        cluster_label=settings.cluster_label,
        source=settings.source,
        receiver=settings.alertmanager_receiver,
        watchdog=settings.watchdog,
        base_url=(settings.base_url or f"http://{settings.listen}").rstrip("/"),
    )


def _evidence(settings: Settings) -> Evidence:
    """Where evidence goes; a folder that cannot be used is said now and not only once it is needed."""
    if settings.evidence_dir is None:
        return Evidence()
    vault = Vault(settings.evidence_dir)
    if (why := vault.complaint()) is not None:
        log.warning("evidence could not be kept now", event_code="evidence_folder", why=why)
    return Evidence(vault, EvidenceLimits(deadline=settings.evidence_within))


def _standing(settings: Settings) -> Callable[[], Awaitable[Standing | str]]:
    if settings.standing_file is None or settings.security_keys is None:
        return no_standing
    return StandingFile(settings.standing_file, settings.security_keys).read


def _monitoring(settings: Settings) -> tuple[str, ...]:
    """The hosts that measurements and alerts come from."""
    urls = (settings.prometheus_url, *settings.alertmanager_urls)
    return tuple(dict.fromkeys(host for url in urls if url and (host := urlsplit(url).hostname)))


def _destinations(settings: Settings, session: aiohttp.ClientSession) -> list[Destination]:
    found: list[Destination] = []
    if settings.announce_webhook_file is not None:
        found.append(Webhook(session, _secret(settings.announce_webhook_file)))
    if settings.pagerduty_key_file is not None:
        found.append(PagerDuty(session, _secret(settings.pagerduty_key_file), settings.pagerduty_url))
    return found


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """How the port is protected; None is plain HTTP. Raises PermanentError where the files are no good."""
    if settings.tls_cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
        if settings.tls_client_ca_file is not None:
            context.load_verify_locations(settings.tls_client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise PermanentError(f"the TLS files cannot be used: {error}") from error
    return context
