"""HTTPS and client certificates, by configuration."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import pytest
from certificates import certificate
from real_service import SENDER_TOKEN, write_credentials

from receiver.app import serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.scenario import scenario
from receiver.demo.world import demo_world
from receiver.domain.errors import PermanentError
from receiver.settings import Settings
from receiver.web.routes import ROUTES


async def test_with_a_client_authority_only_its_certificates_get_in(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    chain, key = certificate(tmp_path, "server")
    client_chain, client_key = certificate(tmp_path, "client")
    async with demo_world(scenario("inc-001"), WorldClock()) as world:
        door = await cluster.connect(url=world.api.url)
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
            tls_cert_file=chain,
            tls_key_file=key,
            tls_client_ca_file=client_chain,
        )
        async with serving(settings, door=door) as service, aiohttp.ClientSession() as session:
            assert service.url.startswith("https://")
            known = ssl.create_default_context(cafile=str(chain))
            url = f"{service.url}/api/v1/alerts"
            headers = {"Authorization": f"Bearer {SENDER_TOKEN}"}
            with pytest.raises(aiohttp.ClientError):
                async with session.post(url, data=b"{}", headers=headers, ssl=known) as response:
                    await response.read()
            known.load_cert_chain(client_chain, client_key)
            async with session.post(url, data=b"{}", headers=headers, ssl=known) as response:
                assert response.status == 200
        await door.close()


async def test_a_second_listener_serves_metrics_and_health_alone_without_tls_and_certificates(
    tmp_path: Path,
) -> None:
    write_credentials(tmp_path)
    chain, key = certificate(tmp_path, "server")
    async with demo_world(scenario("inc-001"), WorldClock()) as world:
        door = await cluster.connect(url=world.api.url)
        settings = Settings(
            listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
            tls_cert_file=chain,
            tls_key_file=key,
        )
        known = ssl.create_default_context(cafile=str(chain))
        async with serving(settings, door=door) as service, aiohttp.ClientSession() as session:
            assert service.metrics_url is not None and service.metrics_url.startswith("http://")

            async def status(url: str, path: str, method: str = "GET") -> int:
                async with session.request(method, url + path, ssl=known) as response:
                    return response.status

            everything = {route.path for route in ROUTES if "{" not in route.path}
            found = {path for path in everything if await status(service.metrics_url, path) != 404}
            assert found == {"/metrics", "/healthz", "/readyz"}
            assert await status(service.metrics_url, "/api/v1/alerts", "POST") == 404
            assert await status(service.metrics_url, "/metrics") == 200
            assert await status(service.url, "/metrics") == 404
            assert await status(service.url, "/readyz") == 200
            service.health.draining = True
            assert await status(service.metrics_url, "/readyz") == 503
            assert await status(service.metrics_url, "/healthz") == 200
        taken = settings.model_copy(update={"metrics_listen": world.api.url.removeprefix("http://")})
        with pytest.raises(PermanentError, match="STANCH_METRICS_LISTEN: cannot listen"):
            async with serving(taken, door=door):
                raise AssertionError("it started")
        await door.close()


async def test_files_that_cannot_be_used_end_the_start_with_a_sentence(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    (tmp_path / "cert.pem").write_text("no certificate", encoding="utf-8")
    async with demo_world(scenario("inc-001"), WorldClock()) as world:
        door = await cluster.connect(url=world.api.url)
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
            tls_cert_file=tmp_path / "cert.pem",
            tls_key_file=tmp_path / "cert.pem",
        )
        with pytest.raises(PermanentError, match="the TLS files cannot be used"):
            async with serving(settings, door=door):
                pass
        await door.close()
