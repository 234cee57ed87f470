"""ID tokens of a provider: whose signature, for whom, until when, and whom they may name."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hand_clock import HandSteady
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.demo.kubernetes import SteppedClock
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.policy.approval import Identity, KnownBy
from receiver.web.id_tokens import (
    KEYS_ASKED_AGAIN_SECONDS,
    KEYS_KEPT_SECONDS,
    LEEWAY_SECONDS,
    TIMEOUT_SECONDS,
    IdTokens,
    Provider,
    checked_address,
    identity_of,
    out_of_time,
    username_prefix,
)

OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
THEIRS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def published(key: Any, kid: str) -> dict[str, Any]:
    """The public half as a provider lists it."""
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    name = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    found: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**found, "kid": kid, "use": "sig", "alg": name}


@dataclass
class Issuer:
    """A provider over real HTTP."""

    url: str = ""
    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [published(OURS, "one"), published(CURVE, "two")]
    )
    calls_itself: str | None = None
    keys_at: str | None = None
    status: int = 200
    asked: int = 0

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked += 1
        name = self.calls_itself or self.url
        return web.json_response(
            {"issuer": name, "jwks_uri": self.url + "/keys" if self.keys_at is None else self.keys_at},
            status=self.status,
        )

    async def listing(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": self.keys}, status=self.status)


@asynccontextmanager
async def provider(**changes: Any) -> AsyncIterator[tuple[Issuer, IdTokens, SteppedClock, HandSteady]]:
    """The provider, and us as its relying party."""
    issuer = Issuer()
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", issuer.discovery)
    application.router.add_get("/keys", issuer.listing)
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        issuer.url = str(server.make_url("")).rstrip("/")
        clock, steady = SteppedClock(), HandSteady()
        about = Provider(issuer.url, "stanch", username_prefix="oidc:", groups_prefix="oidc:", **changes)
        yield issuer, IdTokens(session, about, clock, steady=steady), clock, steady


def claims(issuer: Issuer, now: datetime, **changes: Any) -> dict[str, Any]:
    found = {
        "iss": issuer.url,
        "aud": "stanch",
        "sub": "carol",
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=10)).timestamp()),
        "groups": ["sre"],
        **changes,
    }
    return {name: said for name, said in found.items() if said is not None}


def signed(said: dict[str, Any], key: Any = OURS, algorithm: str = "RS256", kid: str = "one") -> str:
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid})


async def test_a_token_for_us_names_its_person_as_the_api_server_would() -> None:
    async with provider() as (issuer, tokens, clock, _):
        carol = Identity(
            "oidc:carol", ("oidc:sre", "system:authenticated"), KnownBy.PROVIDER, f"{issuer.url} carol"
        )
        assert await tokens.who(signed(claims(issuer, clock.now()))) == carol
        by_curve = signed(claims(issuer, clock.now()), CURVE, "ES256", "two")
        assert await tokens.who(by_curve) == carol
        assert issuer.asked == 1


WRONG = [
    ({"aud": "kubernetes"}, "another audience"),
    ({"aud": None}, "no audience"),
    ({"iss": "https://elsewhere.example"}, "another issuer"),
    ({"sub": None}, "nobody"),
    ({"exp": None}, "without an end"),
    ({"iat": None}, "without a beginning"),
    ({"exp": "tomorrow"}, "an end that is no time"),
    ({"exp": True}, "an end that is a word"),
    ({"nbf": "now"}, "a beginning that is no time"),
]


@pytest.mark.parametrize("changes", [pytest.param(changes, id=name) for changes, name in WRONG])
async def test_a_token_that_is_not_for_us_names_nobody(changes: dict[str, Any]) -> None:
    async with provider() as (issuer, tokens, clock, _):
        assert await tokens.who(signed(claims(issuer, clock.now(), **changes))) is None
        assert await tokens.who(signed(claims(issuer, clock.now()))) is not None


async def test_a_token_counts_in_its_time_only() -> None:
    async with provider() as (issuer, tokens, clock, _):
        token = signed(claims(issuer, clock.now()))
        await clock.advance(timedelta(minutes=10, seconds=LEEWAY_SECONDS - 1))
        assert await tokens.who(token) is not None
        await clock.advance(timedelta(seconds=1))
        assert await tokens.who(token) is None
        early = clock.now() + timedelta(seconds=LEEWAY_SECONDS + 1)
        assert await tokens.who(signed(claims(issuer, early))) is None


async def test_a_forged_signature_names_nobody() -> None:
    async with provider() as (issuer, tokens, clock, _):
        said = claims(issuer, clock.now())
        public = OURS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        unsigned = jwt.encode(said, "", algorithm="none", headers={"kid": "one"})
        good = signed(said)
        swapped = ".".join(
            (good.split(".")[0], signed({**said, "sub": "mallory"}).split(".")[1], good.split(".")[2])
        )
        # What is secret for an HMAC is published here.
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one","typ":"JWT"}').rstrip(b"=")
        body = good.split(".")[1].encode()
        mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(mac.sign(head + b"." + body, public)).rstrip(b"=")
        confused = b".".join((head, body, signature)).decode()
        others = signed(said, THEIRS), signed(said, CURVE, "ES256", "one"), signed(said, kid="never heard of")
        for token in (unsigned, swapped, confused, *others, signed(said, algorithm="PS256")):
            assert await tokens.who(token) is None
        assert await tokens.who(good) is not None


@pytest.mark.parametrize("address", ["http://idp.example/keys", "https://[", "", "file:///etc/passwd"])
async def test_a_provider_that_names_no_usable_keys_is_not_asked_for_every_token(address: str) -> None:
    async with provider() as (issuer, tokens, clock, _):
        issuer.keys_at = address
        for number in range(5):
            with pytest.raises(TemporaryError):
                await tokens.who(signed(claims(issuer, clock.now()), THEIRS, kid=f"forged {number}"))
        assert issuer.asked == 1


def test_groups_are_a_list_and_nothing_that_merely_can_be_gone_through() -> None:
    found = identity_of(
        {"sub": "carol", "groups": {"sre-lead": 1}}, Provider("https://idp.example", "stanch")
    )
    assert found is not None and found.groups == ("system:authenticated",)


@pytest.mark.parametrize("end", [float("nan"), float("inf"), 10**400, -(10**400)])
def test_an_end_that_is_no_moment_is_no_end(end: float) -> None:
    assert out_of_time({"iat": 0, "exp": end}, SteppedClock().now()) == "its times are no numbers"


@pytest.mark.parametrize(
    ("said", "claim", "prefix"),
    [
        (None, "sub", "https://idp.example#"),
        (None, "email", ""),
        ("-", "sub", ""),
        ("oidc:", "email", "oidc:"),
    ],
)
def test_names_begin_as_they_do_for_the_api_server(said: str | None, claim: str, prefix: str) -> None:
    assert username_prefix(said, "https://idp.example", claim) == prefix


async def test_new_keys_are_learned_and_unknown_ones_do_not_make_us_ask_each_time() -> None:
    async with provider() as (issuer, tokens, clock, steady):
        said = claims(issuer, clock.now())
        assert await tokens.who(signed(said)) is not None
        issuer.keys = [published(THEIRS, "three")]
        for _ in range(5):
            assert await tokens.who(signed(said, THEIRS, kid="three")) is None
        assert issuer.asked == 1
        steady.seconds += KEYS_ASKED_AGAIN_SECONDS
        assert await tokens.who(signed(said, THEIRS, kid="three")) is not None
        assert await tokens.who(signed(said)) is None
        assert issuer.asked == 2


async def test_a_provider_that_is_away_takes_nobody_in_and_throws_nobody_out_at_once() -> None:
    async with provider() as (issuer, tokens, clock, steady):
        said = claims(issuer, clock.now())
        issuer.status = 503
        for _ in range(3):
            with pytest.raises(TemporaryError):
                await tokens.who(signed(said))
        assert issuer.asked == 1
        issuer.status = 200
        steady.seconds += TIMEOUT_SECONDS
        assert await tokens.who(signed(said)) is not None
        issuer.status = 503
        steady.seconds += KEYS_KEPT_SECONDS
        assert await tokens.who(signed(said)) is not None
        steady.seconds += KEYS_KEPT_SECONDS
        with pytest.raises(TemporaryError):
            await tokens.who(signed(said))


async def test_a_provider_that_calls_itself_something_else_is_not_believed() -> None:
    async with provider() as (issuer, tokens, clock, _):
        issuer.calls_itself = "https://elsewhere.example"
        with pytest.raises(TemporaryError):
            await tokens.who(signed(claims(issuer, clock.now())))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"sub": "carol"}, "carol"),
        ({"sub": "system:admin"}, None),
        ({"sub": ""}, None),
        ({"sub": 7}, None),
        ({"sub": "carol", "groups": ["system:masters"]}, None),
        ({"sub": "carol", "groups": "sre"}, "carol"),
        ({"sub": "carol", "groups": [1, None, ""]}, "carol"),
        ({"sub": "carol", "groups": 5}, "carol"),
    ],
)
def test_no_provider_speaks_for_the_cluster_s_own(said: dict[str, Any], named: str | None) -> None:
    found = identity_of(said, Provider("https://idp.example", "stanch"))
    assert (None if found is None else found.name) == named


@pytest.mark.parametrize(
    ("verified", "named"), [(True, True), (False, False), ("true", False), (None, False)]
)
def test_an_address_that_nobody_verified_is_nobody_s_name(verified: Any, named: bool) -> None:
    about = replace(Provider("https://idp.example", "stanch"), username_claim="email")
    said = {"sub": "1", "email": "carol@greenlang.io", "email_verified": verified}
    assert (identity_of(said, about) is not None) is named


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(["exp", "iat", "nbf"]), st.floats() | st.integers() | st.text()))
def test_times_of_any_kind_are_judged(said: dict[str, Any]) -> None:
    now = SteppedClock().now()
    verdict = out_of_time(said, now)
    assert verdict is not None or {"exp", "iat"} <= set(said)


@pytest.mark.parametrize(
    "token", ["", "a.b.c", "..", "x" * 20_000, "\udcff.\udcff.\udcff", "e30.e30.e30", "W10.W10.W10"]
)
async def test_what_is_no_token_names_nobody(token: str) -> None:
    async with provider() as (_, tokens, _, _):
        assert await tokens.who(token) is None


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://idp.example/keys", True),
        ("http://127.0.0.1:8000/keys", True),
        ("http://idp.example/keys", False),
        ("file:///etc/passwd", False),
        ("https://user@idp.example/keys", False),
        ("", False),
    ],
)
def test_keys_are_fetched_over_https_only(url: str, good: bool) -> None:
    if good:
        assert checked_address(url) == url
        return
    with pytest.raises(PermanentError):
        checked_address(url)
