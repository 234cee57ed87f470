"""A proxy that logs people in: its headers are taken from it alone."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from certificates import certificate
from multidict import CIMultiDict, CIMultiDictProxy
from real_service import API_TOKEN, write_credentials

from receiver.app import serving
from receiver.clients import cluster
from receiver.demo.clock import WorldClock
from receiver.demo.kubernetes.access import Grant
from receiver.demo.scenario import scenario
from receiver.demo.world import demo_world
from receiver.policy.approval import Identity, KnownBy
from receiver.policy.rights import GROUP, RESOURCE, Verb
from receiver.settings import Settings
from receiver.web.identifying import of_another_site
from receiver.web.proxy import Peer, Proxy, peer_of, who_it_says

USER, GROUPS = "X-Forwarded-User", "X-Forwarded-Groups"
BESIDE = Proxy(USER, GROUPS)
BY_NAME = Proxy(USER, GROUPS, certificate="oauth2-proxy")
LOOPBACK = Peer("127.0.0.1")
CAROL = Identity("oidc:carol", ("oidc:sre", "oidc:oncall", "system:authenticated"), KnownBy.PROXY)
SAYS = [(USER, "oidc:carol"), (GROUPS, "oidc:sre, oidc:oncall")]
TABLE = [
    pytest.param(BESIDE, SAYS, LOOPBACK, CAROL, id="beside us"),
    pytest.param(BESIDE, SAYS, Peer("::1"), CAROL, id="beside us, IPv6"),
    pytest.param(BESIDE, [], LOOPBACK, None, id="says nothing"),
    pytest.param(BESIDE, [], Peer("10.0.0.7"), None, id="somebody else says nothing"),
    pytest.param(BESIDE, SAYS, Peer("10.0.0.7"), "not the proxy", id="forged from elsewhere"),
    pytest.param(BESIDE, SAYS, Peer("127.0.0.1.evil"), "not the proxy", id="an address that is none"),
    pytest.param(BESIDE, SAYS, Peer(""), "not the proxy", id="no address"),
    pytest.param(BESIDE, SAYS[1:], Peer("10.0.0.7"), "not the proxy", id="forged groups"),
    pytest.param(BESIDE, SAYS[1:], LOOPBACK, "names nobody", id="groups of nobody"),
    pytest.param(BESIDE, [*SAYS, (USER, "root")], LOOPBACK, "more than one", id="two people"),
    pytest.param(BESIDE, [(USER, "system:admin")], LOOPBACK, "cannot speak for", id="the cluster's own"),
    pytest.param(BESIDE, [*SAYS, (GROUPS, "a,system:masters")], LOOPBACK, "cannot speak", id="its group"),
    pytest.param(BESIDE, [(USER, "a\x7fb")], LOOPBACK, "cannot speak for", id="not printable"),
    pytest.param(BESIDE, [(USER, " ")], LOOPBACK, "names nobody", id="a blank"),
    pytest.param(BESIDE, [(USER, "x"), (GROUPS, ",".join("g" * 600))], LOOPBACK, "cannot", id="many"),
    pytest.param(BY_NAME, SAYS, Peer("10.0.0.7", frozenset({"oauth2-proxy"})), CAROL, id="by its name"),
    pytest.param(BY_NAME, SAYS, Peer("10.0.0.7", frozenset({"alertmanager"})), "not the", id="another's"),
    pytest.param(BY_NAME, SAYS, LOOPBACK, "not the proxy", id="loopback without the certificate"),
]


@pytest.mark.parametrize(("proxy", "headers", "peer", "expected"), TABLE)
def test_whom_the_headers_name(
    proxy: Proxy, headers: list[tuple[str, str]], peer: Peer, expected: Identity | str | None
) -> None:
    found = who_it_says(proxy, CIMultiDictProxy(CIMultiDict(headers)), peer)
    if isinstance(expected, str):
        assert isinstance(found, str) and expected in found
    else:
        assert found == expected


def test_the_names_of_a_certificate_are_its_own() -> None:
    shown = {
        "subject": ((("organizationName", "stanch"),), (("commonName", "oauth2-proxy"),)),
        "issuer": ((("commonName", "the authority"),),),
        "subjectAltName": (("DNS", "proxy.auth"), ("email", "a@b.c"), ("IP Address", "127.0.0.1")),
    }
    assert peer_of(("10.0.0.7", 1234), shown) == Peer("10.0.0.7", frozenset({"oauth2-proxy", "proxy.auth"}))
    assert peer_of(None, None) == Peer("")


@pytest.mark.parametrize(
    ("known_by", "method", "headers", "refused"),
    [
        (KnownBy.PROXY, "POST", {"Content-Type": "application/json"}, False),
        (KnownBy.PROXY, "POST", {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}, False),
        (KnownBy.PROXY, "POST", {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, True),
        (KnownBy.PROXY, "POST", {"Content-Type": "application/json", "Sec-Fetch-Site": "same-site"}, True),
        (KnownBy.PROXY, "POST", {"Content-Type": "text/plain"}, True),
        (KnownBy.PROXY, "POST", {"Content-Type": "application/x-www-form-urlencoded"}, True),
        (KnownBy.PROXY, "POST", {}, True),
        (KnownBy.PROXY, "GET", {"Sec-Fetch-Site": "cross-site"}, False),
        (KnownBy.CLUSTER, "POST", {"Content-Type": "text/plain"}, False),
    ],
)
def test_another_site_s_page_cannot_act_for_whoever_is_logged_in_at_the_proxy(
    known_by: KnownBy, method: str, headers: dict[str, str], refused: bool
) -> None:
    request = make_mocked_request(method, "/api/v1/pause", headers=headers)
    assert (of_another_site(request, replace(CAROL, known_by=known_by)) is not None) is refused


@pytest.mark.parametrize(
    "given",
    [
        {"listen": "0.0.0.0:8080"},
        {"listen": "10.0.0.7:8080"},
        {"listen": "stanch.stanch.svc:8080"},
        {"proxy_certificate": "oauth2-proxy"},
    ],
)
def test_headers_that_others_could_write_are_refused_at_the_start(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="proxy_"):
        Settings(**{"proxy_user_header": USER, **given})  # type: ignore[arg-type]


async def test_only_the_proxy_s_certificate_logs_people_in(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    chain, key = certificate(tmp_path, "server")
    both = {name: certificate(tmp_path, name) for name in ("oauth2-proxy", "alertmanager")}
    authority = tmp_path / "authority.pem"
    authority.write_text(
        "".join(pair[0].read_text(encoding="utf-8") for pair in both.values()), encoding="utf-8"
    )
    async with demo_world(scenario("inc-001"), WorldClock()) as world:
        world.api.access.grants.append(
            Grant(subject="oidc:carol", verb=Verb.GET, group=GROUP, resource=RESOURCE)
        )
        door = await cluster.connect(url=world.api.url)
        settings = Settings(
            listen="127.0.0.1:0",
            store=f"sqlite:///{tmp_path / 'stanch.sqlite3'}",
            prometheus_url=world.prometheus.url,
            webhook_token_file=tmp_path / "webhook-tokens",
            api_tokens_file=tmp_path / "api-tokens.yaml",
            tls_cert_file=chain,
            tls_key_file=key,
            tls_client_ca_file=authority,
            proxy_user_header=USER,
            proxy_certificate="oauth2-proxy",
        )
        async with serving(settings, door=door) as service:

            async def status(name: str, **headers: str) -> int:
                known = ssl.create_default_context(cafile=str(chain))
                known.load_cert_chain(*both[name])
                sent = {header.replace("_", "-"): value for header, value in headers.items()}
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"{service.url}/api/v1/incidents", headers=sent, ssl=known) as response,
                ):
                    return response.status

            assert await status("oauth2-proxy", X_Forwarded_User="oidc:carol") == 200
            assert await status("oauth2-proxy", X_Forwarded_User="oidc:mallory") == 403
            assert await status("alertmanager", X_Forwarded_User="oidc:carol") == 401
            token = f"Bearer {API_TOKEN}"
            assert await status("alertmanager", Authorization=token) == 200
            assert await status("alertmanager", Authorization=token, X_Forwarded_User="oidc:carol") == 401
            assert await status("oauth2-proxy") == 401
            refused = service.counters.refused_callers
            assert refused == {
                "headers of the proxy from somebody who is not the proxy": 2,
                "not allowed": 1,
                "no token": 1,
            }
        await door.close()
