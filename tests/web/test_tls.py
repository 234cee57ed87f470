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
