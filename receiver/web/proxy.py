"""People by the headers of a proxy that has logged them in, taken from that proxy and from nobody else.

A header is only as good as whoever could have written it. So these are read on a listener that nothing but
the proxy can reach: loopback, where it stands beside us, or one that asks for a client certificate, where it
shows its own. Anywhere else they are refused, even beside a good token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDictProxy

from receiver.domain.addresses import is_loopback
from receiver.policy.approval import Identity, KnownBy
from receiver.web.id_tokens import AUTHENTICATED, SYSTEM

MOST_GROUPS = 500
LONGEST = 512


@dataclass(frozen=True)
class Proxy:
    """The headers that it sets, and how it is known: by its certificate's name, else by loopback."""

    user_header: str
    groups_header: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Peer:
    """Who has the other end of a connection: its address, and the names that its certificate carries."""

    address: str
    names: frozenset[str] = frozenset()


def who_it_says(proxy: Proxy, headers: CIMultiDictProxy[str], peer: Peer) -> Identity | str | None:
    """Who the proxy has logged in; a sentence where it is not to be believed; None where it says nothing."""
    users = headers.getall(proxy.user_header, [])
    groups = headers.getall(proxy.groups_header, []) if proxy.groups_header else []
    if not users and not groups:
        return None
    if not _is_the_proxy(proxy, peer):
        return "headers of the proxy from somebody who is not the proxy"
    if len(users) != 1 or not users[0].strip() or len(users[0]) > LONGEST:
        return "the proxy names nobody, or more than one"
    name = users[0].strip()
    named = tuple(group.strip() for line in groups for group in line.split(",") if group.strip())
    if len(named) > MOST_GROUPS or _odd((name, *named)):
        return "the proxy names what it cannot speak for"
    return Identity(name, (*named, AUTHENTICATED), KnownBy.PROXY)


def _is_the_proxy(proxy: Proxy, peer: Peer) -> bool:
    if proxy.certificate:
        return proxy.certificate in peer.names
    return is_loopback(peer.address)


def _odd(names: Iterable[str]) -> bool:
    return any(name.startswith(SYSTEM) or not name.isprintable() or len(name) > LONGEST for name in names)


def peer_of(peername: Any, certificate: Mapping[str, Any] | None) -> Peer:
    """From what the transport tells: a socket's address, and the verified certificate as `ssl` gives it."""
    address = str(peername[0]) if isinstance(peername, tuple) and peername else ""
    found: set[str] = set()
    for part in (certificate or {}).get("subject", ()):
        found |= {str(said) for key, said in part if key == "commonName"}
    found |= {
        str(said) for key, said in (certificate or {}).get("subjectAltName", ()) if key in ("DNS", "URI")
    }
    return Peer(address, frozenset(found))
