"""What the handlers find in the application, each under a typed key."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from receiver.pipeline.counters import Counters
from receiver.pipeline.intake import Intake
from receiver.pipeline.world import World
from receiver.policy.approval import Identity
from receiver.web.authentication import Authenticator, SenderCredentials
from receiver.web.proxy import Proxy


@dataclass
class Health:
    """Whether this process may be sent traffic."""

    draining: bool = False


@dataclass(frozen=True)
class Limits:
    """Sizes that the intake holds to, in bytes."""

    max_body_bytes: int


# Who sent a request, once their token was read.
IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)
WORLD = web.AppKey("world", World)
INTAKE = web.AppKey("intake", Intake)
COUNTERS = web.AppKey("counters", Counters)
SENDERS = web.AppKey("senders", SenderCredentials)
PEOPLE = web.AppKey("people", Authenticator)
# The proxy in front of us that logs people in, where there is one.
PROXY = web.AppKey[Proxy | None]("proxy")
HEALTH = web.AppKey("health", Health)
LIMITS = web.AppKey("limits", Limits)
