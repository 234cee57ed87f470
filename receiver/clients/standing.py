"""A security lead's standing approval, read from its file as it is now: signed, or it counts for nothing.

Beside the file lies ``FILE.sig``, the Ed25519 signature of its bytes in base64, as ``openssl pkeyutl -sign
-rawin`` makes one. Whose it may be is told by a folder of public keys, one PEM file for each security lead.
"""

from __future__ import annotations

import asyncio
import base64
import os
import stat
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from receiver.domain.errors import PermanentError
from receiver.domain.isolation import BY_HAND, Act
from receiver.domain.names import DNS_LABEL
from receiver.domain.standing import Standing

MOST_BYTES = 64 * 1024
MOST_KEYS = 50
READ_WITHIN_SECONDS = 5.0
REFUSED = "the standing approval is refused"
# A yes that outlives everybody who remembers it is none.
LONGEST = timedelta(days=366)
_Scope = Annotated[
    str, Field(pattern=r"^(cluster|(namespace|node)/[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$", max_length=300)
]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: str = Field(max_length=63, pattern=f"^{DNS_LABEL.pattern}$")
    acts: list[Act] = Field(min_length=1)
    scopes: list[_Scope] = Field(min_length=1, max_length=200)
    signed_at: AwareDatetime = Field(alias="signedAt")
    valid_until: AwareDatetime = Field(alias="validUntil")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    api_version: Literal["stanch/v1"] = Field(alias="apiVersion")
    kind: Literal["StandingApproval"]
    spec: _Spec


class StandingFile:
    """The file, and the folder of the keys that may sign it; both are read anew each time."""

    def __init__(self, path: Path, keys: Path) -> None:
        self._path = path
        self._keys = keys

    async def read(self) -> Standing | str:
        """The approval, or why there is none; a file system that hangs holds up nobody for long."""
        try:
            async with asyncio.timeout(READ_WITHIN_SECONDS):
                return await asyncio.to_thread(self.read_now)
        except TimeoutError:
            return f"{REFUSED}: its files cannot be read in time"

    def read_now(self) -> Standing | str:
        """The same, for who may wait."""
        try:
            keys = {path.stem: _bytes(path) for path in sorted(self._keys.glob("*.pem"))[:MOST_KEYS]}
            return checked(_bytes(self._path), _bytes(signature_path(self._path)), keys)
        except PermanentError as error:
            return f"{REFUSED}: {error}"
        except OSError as error:
            return f"{REFUSED}: its keys cannot be read: {error.strerror}"


def signature_path(path: Path) -> Path:
    """Where the signature of a file lies."""
    return path.with_name(f"{path.name}.sig")


def checked(content: bytes, signature: bytes, keys: Mapping[str, bytes]) -> Standing:
    """The approval in these bytes, if whom it names signed exactly these. Raises PermanentError.

    Nothing is made of what nobody signed: the signature comes first. ``keys`` are public, by the lead's name.
    """
    signer = next((name for name, key in keys.items() if _is_signed(content, signature, key)), None)
    if signer is None:
        known = ", ".join(keys) or "nobody"
        raise PermanentError(f"it was edited, or none of those with a key signed it ({known})")
    found = parsed(content)
    if found.by != signer:
        raise PermanentError(f"it is by {found.by}, and {signer} signed it")
    return found


def parsed(content: bytes) -> Standing:
    """What the file says, whoever wrote it. Raises PermanentError with every complaint."""
    try:
        document = _File.model_validate(yaml.safe_load(content.decode())).spec
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise PermanentError("; ".join(told)) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        # PyYAML makes dates itself, and a month 13 is a ValueError of theirs.
        raise PermanentError(f"it is no YAML: {' '.join(str(error).split())[:200]}") from error
    if by_hand := BY_HAND & set(document.acts):
        raise PermanentError(f"{', '.join(sorted(by_hand))} is by hand: somebody says yes to each list")
    if document.valid_until - document.signed_at > LONGEST:
        raise PermanentError(f"validUntil is more than {LONGEST.days} days after signedAt")
    return Standing(
        by=document.by,
        acts=frozenset(document.acts),
        scopes=frozenset(document.scopes),
        signed_at=document.signed_at,
        valid_until=document.valid_until,
    )


def sign(content: bytes, private_key: bytes) -> bytes:
    """The signature of these bytes in base64. Raises PermanentError where the key is none."""
    # Not at the top: whoever has no standing approval need not load it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PermanentError("the key is no unencrypted PEM private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise PermanentError("the key is no Ed25519 key; make one: openssl genpkey -algorithm ed25519")
    return base64.b64encode(key.sign(content)) + b"\n"


def _is_signed(content: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether the owner of this key signed these bytes; what is no key of the right kind signed nothing."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public_key)
        if not isinstance(key, Ed25519PublicKey):
            return False
        key.verify(base64.b64decode(signature, validate=False), content)
    except (ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _bytes(path: Path) -> bytes:
    """What is in a file; a pipe, on which one could wait for ever, is none."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise PermanentError(f"{path.name} is no file")
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise PermanentError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise PermanentError(f"{path.name} has more than {MOST_BYTES} bytes")
    return content
