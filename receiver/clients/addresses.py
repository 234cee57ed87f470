"""Which addresses nobody here may be sent to, whoever names them.

A cloud hands its machines' credentials to whoever asks at a link-local address: a mistake in a file, or a
name server that lies, must not make the service ask there.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

# What stands at them is not link-local, but the same: Alibaba, Oracle (old), Azure, AWS and Google by IPv6.
_METADATA = frozenset(
    ip_address(each)
    for each in ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254")
)
_METADATA_NAMES = (
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "instance-data",
    "instance-data.ec2.internal",
)
_NAT64 = IPv6Network("64:ff9b::/96")


def refused_host(host: str) -> str | None:
    """Why a host, as a URL has it, is not asked; None where it may be. ``host`` has no brackets.

    A name is judged as it is written; what it resolves to is judged by `Guarded`.
    """
    name = host.lower().rstrip(".")
    if name in _METADATA_NAMES:
        return "it is the metadata service of a cloud"
    try:
        address = ip_address(host)
    except ValueError:
        # Some take 2852039166, 0xA9FEA9FE and 169.254.43518 for an address: none of them is one here.
        last = name.rpartition(".")[2]
        if last[:1].isdigit() or not last or ":" in name:
            return "it is no name, and no address of four numbers"
        return None
    return refused_address(address)


def refused_address(address: IPv4Address | IPv6Address) -> str | None:
    """Why an address is not asked; None where it may be."""
    inner = _inside(address)
    if inner is not None:
        return refused_address(inner)
    if address in _METADATA or address.is_link_local:
        return "it is link-local, or the metadata service of a cloud"
    if address.is_multicast or address.is_unspecified:
        return "it is the address of no one host"
    return None


def _inside(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


class Guarded(AbstractResolver):
    """Asks another resolver, and gives no answer that names a refused address."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`. Raises OSError where one of the addresses is refused."""
        found = await self._inner.resolve(host, port, family)
        for each in found:
            if (why := refused_address(ip_address(each["host"]))) is not None:
                raise OSError(f"an address of that name is refused: {why}")
        return found

    async def close(self) -> None:
        """Let go of the other one."""
        await self._inner.close()
