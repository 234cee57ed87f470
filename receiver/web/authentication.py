"""Who is calling: tokens and passwords from files that are read again when they change.

More than one is valid at a time, so that they can be rotated. Every comparison takes the same time
whatever is wrong. An unreadable file keeps what was known and says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter
from ruamel.yaml import YAML

from receiver.domain.errors import PermanentError
from receiver.policy.approval import Identity

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Authenticator(Protocol):
    """Tells who a bearer token belongs to; cluster identities can take this place."""

    async def who(self, token: str) -> Identity | None:
        """The identity, or None where the token is not known."""


class ReadAgain(Generic[T]):
    """A file's content, parsed, and parsed again once the file changed."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self._path = path
        self._parse = parse
        self._stamp: tuple[int, int, int] | None = None
        self._content: T = self._read()

    def get(self) -> T:
        """The content now; the last good one where the file cannot be read."""
        try:
            if self._stat() != self._stamp:
                self._content = self._read()
        except (OSError, ValueError, PermanentError) as error:
            log.error(
                "a credentials file cannot be read; keeping what was known",
                event_code="credentials",
                why=str(error),
            )
        return self._content

    def _stat(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> T:
        stamp = self._stat()
        content = self._parse(self._path.read_text(encoding="utf-8"))
        self._stamp = stamp
        return content


@dataclass(frozen=True)
class SenderCredentials:
    """What may post alerts: hashes of bearer tokens and of ``user:password`` pairs."""

    tokens: ReadAgain[tuple[bytes, ...]] | None = None
    users: ReadAgain[tuple[bytes, ...]] | None = None

    @property
    def none(self) -> bool:
        """Whether nothing is configured: then everybody may post, by explicit choice only."""
        return self.tokens is None and self.users is None

    def accept(self, header: str | None) -> bool:
        """Whether this Authorization header may post alerts."""
        if self.none:
            return True
        scheme, _, rest = (header or "").partition(" ")
        offered = _hash(rest.strip())
        if scheme.lower() == "bearer":
            return _among(offered, self.tokens.get() if self.tokens is not None else ())
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(rest.strip(), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                pair = ""
            return _among(_hash(pair), self.users.get() if self.users is not None else ())
        _among(offered, ())
        return False


def sender_credentials(tokens: Path | None, users: Path | None) -> SenderCredentials:
    """From the files that the settings name. Raises PermanentError where one is missing or empty."""
    return SenderCredentials(
        tokens=None if tokens is None else _open(tokens, _lines),
        users=None if users is None else _open(users, _lines),
    )


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str
    name: str
    groups: tuple[str, ...] = ()


class TokenFile:
    """API identities from a YAML file: a list of ``{token, name, groups}``."""

    def __init__(self, path: Path) -> None:
        self._entries = _open(path, _entries)

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`; looks at every entry, whichever fits."""
        offered = _hash(token)
        found: Identity | None = None
        for known, identity in self._entries.get():
            if hmac.compare_digest(known, offered):
                found = identity
        return found


@dataclass(frozen=True)
class OneOf:
    """The first of these that knows a token tells whose it is."""

    asked: tuple[Authenticator, ...]

    async def who(self, token: str) -> Identity | None:
        """See `Authenticator.who`."""
        for one in self.asked:
            if (found := await one.who(token)) is not None:
                return found
        return None


def _entries(text: str) -> tuple[tuple[bytes, Identity], ...]:
    document = YAML(typ="safe").load(text)
    entries = TypeAdapter(list[_Entry]).validate_python(document or [])
    if not entries:
        raise PermanentError("it names no token")
    return tuple((_hash(entry.token), Identity(entry.name, entry.groups)) for entry in entries)


def _lines(text: str) -> tuple[bytes, ...]:
    kept = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not kept:
        raise PermanentError("it is empty")
    return tuple(_hash(line) for line in kept)


def _open(path: Path, parse: Callable[[str], T]) -> ReadAgain[T]:
    try:
        return ReadAgain(path, parse)
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, PermanentError) as error:
        # A validation error quotes its input, which is a secret here.
        reason = str(error) if isinstance(error, PermanentError) else "it has not the expected form"
        raise PermanentError(f"{path}: {reason}") from error


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _among(offered: bytes, known: tuple[bytes, ...]) -> bool:
    found = False
    for one in known:
        found |= hmac.compare_digest(one, offered)
    return found
