"""People by the ID tokens of an OpenID Connect provider, checked here, named as the API server names them.

Most API servers take such a token for themselves but cannot be asked about one that is meant for us. So its
signature, issuer, audience and time are checked against the provider's published keys. Name and groups carry
the prefixes of the API server's own `--oidc-username-prefix` and `--oidc-groups-prefix`: its RBAC then means
the same people.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import jwt
import structlog

from receiver.clients.bodies import whole
from receiver.domain.addresses import is_private
from receiver.domain.clock import Clock
from receiver.domain.errors import PermanentError, TemporaryError
from receiver.policy.approval import Identity, KnownBy

log = structlog.get_logger(__name__)

# Signatures that nobody can make with a public key; "none" and HMAC are not among them.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY_SECONDS = 30
KEYS_KEPT_SECONDS = 3600.0
# A token with a key that nobody knows may come from anybody: it must not make us ask the provider each time.
KEYS_ASKED_AGAIN_SECONDS = 30.0
TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 512 * 1024
LONGEST_TOKEN = 16_384
# Seconds since 1970; no time that anybody means is further away.
FAR = 1e12
# What the cluster calls its own: no provider speaks for them.
SYSTEM = "system:"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True)
class Provider:
    """Whose tokens are taken, and how what they say becomes a name and groups."""

    issuer: str
    client_id: str
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = "groups"
    groups_prefix: str = ""


def username_prefix(said: str | None, issuer: str, claim: str) -> str:
    """What stands before names: as the API server has it, where its `--oidc-username-prefix` is the same."""
    if said is None:
        return "" if claim == "email" else f"{issuer}#"
    return "" if said == "-" else said


def identity_of(claims: Mapping[str, Any], provider: Provider) -> Identity | None:
    """Who the claims of a valid token tell of; None where they tell of nobody that may be taken."""
    name = claims.get(provider.username_claim)
    if not isinstance(name, str) or not name:
        return None
    if provider.username_claim == "email" and claims.get("email_verified", True) is not True:
        # As the API server has it: an address that anybody may have typed is nobody's name.
        return None
    said = claims.get(provider.groups_claim)
    listed = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    groups = tuple(one for one in listed if isinstance(one, str))
    full = provider.username_prefix + name
    named = tuple(f"{provider.groups_prefix}{group}" for group in groups if group)
    if full.startswith(SYSTEM) or any(group.startswith(SYSTEM) for group in named):
        return None
    subject = claims.get("sub")
    uid = f"{provider.issuer} {subject}" if isinstance(subject, str) and subject else ""
    return Identity(full, (*named, AUTHENTICATED), KnownBy.PROVIDER, uid)


class IdTokens:
    """Checks ID tokens against the provider's keys, which are kept for an hour."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        provider: Provider,
        clock: Clock,
        *,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._provider = provider
        self._clock = clock
        self._steady = steady
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at: float | None = None
        self._failed_at: float | None = None
        self._asking = asyncio.Lock()

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`. Raises TemporaryError where the provider's keys are not to be had."""
        if not token or len(token) > LONGEST_TOKEN or token.count(".") != 2:
            return None
        try:
            header = jwt.get_unverified_header(token)
            unproven = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        if unproven.get("iss") != self._provider.issuer or header.get("alg") not in ALGORITHMS:
            return None
        key = await self._key(header.get("kid"))
        if key is None or (key.algorithm_name is not None and key.algorithm_name != header["alg"]):
            return None
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[str(header["alg"])],
                audience=self._provider.client_id,
                issuer=self._provider.issuer,
                # Its times are judged by our clock, below.
                options={
                    "require": ["exp", "iat", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            log.info("an ID token was refused", event_code="id_token", why=type(error).__name__)
            return None
        if (why := out_of_time(claims, self._clock.now())) is not None:
            log.info("an ID token was refused", event_code="id_token", why=why)
            return None
        return identity_of(claims, self._provider)

    async def _key(self, kid: object) -> jwt.PyJWK | None:
        if not isinstance(kid, str) or len(kid) > 512:
            return None
        known = self._keys.get(kid)
        fresh = self._asked_at is not None and self._steady() - self._asked_at < KEYS_KEPT_SECONDS
        if known is not None and fresh:
            # Whoever brings an unknown key must not make those wait whose keys are known.
            return known
        async with self._asking:
            now = self._steady()
            age = now - self._asked_at if self._asked_at is not None else 2 * KEYS_KEPT_SECONDS
            known = self._keys.get(kid)
            if age < (KEYS_KEPT_SECONDS if known is not None else KEYS_ASKED_AGAIN_SECONDS):
                return known
            if self._failed_at is None or now - self._failed_at >= TIMEOUT_SECONDS:
                try:
                    self._keys = await self._fetched()
                except TemporaryError as error:
                    self._failed_at = self._steady()
                    log.warning("identity provider", event_code="identity_provider", why=str(error))
                else:
                    self._asked_at, self._failed_at = self._steady(), None
                    return self._keys.get(kid)
            # Keys of an hour ago are not gone with one answer that did not come, nor are they good for ever.
            if known is None or age >= 2 * KEYS_KEPT_SECONDS:
                raise TemporaryError("the keys of the identity provider are not to be had")
            return known

    async def _fetched(self) -> dict[str, jwt.PyJWK]:
        root = self._provider.issuer.rstrip("/")
        found = await self._document(f"{root}/.well-known/openid-configuration")
        # The provider speaks for itself and for nobody else.
        if found.get("issuer") != self._provider.issuer:
            raise TemporaryError("the identity provider calls itself something else")
        try:
            address = checked_address(str(found.get("jwks_uri") or ""))
        except PermanentError as error:
            raise TemporaryError("the identity provider names no usable address of its keys") from error
        keys = (await self._document(address)).get("keys")
        usable: dict[str, jwt.PyJWK] = {}
        for one in keys if isinstance(keys, list) else ():
            if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") == "oct":
                continue
            try:
                usable[str(one.get("kid") or "")] = jwt.PyJWK.from_dict(one)
            except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                continue
        return usable

    async def _document(self, url: str) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(TIMEOUT_SECONDS),
                self._session.get(url, allow_redirects=False) as response,
            ):
                content = await whole(response.content, most=MAX_ANSWER_BYTES)
                if response.status != 200:
                    raise TemporaryError(f"the identity provider answers {response.status}")
            found = json.loads(content)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            why = type(error).__name__
            raise TemporaryError(f"the identity provider cannot be asked: {why}") from error
        except (ValueError, RecursionError) as error:
            raise TemporaryError("the identity provider does not answer in JSON") from error
        if not isinstance(found, dict):
            raise TemporaryError("the identity provider does not answer as one")
        return found


def out_of_time(claims: Mapping[str, Any], now: datetime) -> str | None:
    """Why a token does not count at this moment; None where it does."""
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf")}
    numbers = {
        name: float(said)
        for name, said in times.items()
        if isinstance(said, int | float) and not isinstance(said, bool) and -FAR <= said <= FAR
    }
    if "exp" not in numbers or "iat" not in numbers or (times["nbf"] is not None and "nbf" not in numbers):
        return "its times are no numbers"
    at = now.timestamp()
    if numbers["exp"] + LEEWAY_SECONDS <= at:
        return "it has expired"
    if max(numbers["iat"], numbers.get("nbf", 0.0)) > at + LEEWAY_SECONDS:
        return "it is not valid yet"
    return None


def checked_address(url: str) -> str:
    """The address of a provider's document: HTTPS, or plain HTTP on loopback. Raises PermanentError."""
    try:
        private = is_private(url)
    except ValueError:
        private = False
    if not private:
        raise PermanentError("the keys of an identity provider must be asked for over https")
    return url
