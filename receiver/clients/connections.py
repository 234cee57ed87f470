"""What the databases file says: which servers are looked after, as whom, and whose sessions may go.

Passwords are named by file and read for each connection that is opened, so that they can be replaced while
the service runs; none is ever kept in a setting, a plan or a message.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from receiver.clients.files import read_named, read_secret
from receiver.domain.errors import PermanentError


class Role(BaseModel):
    """One role to connect as."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(min_length=1)
    password_file: Path

    def password(self) -> str:
        """Its password as the file has it now. Raises PermanentError where that cannot be read."""
        return read_secret(self.password_file, "password")


class Connection(BaseModel):
    """One database of one server. A standby is a connection of its own.

    ``monitor`` reads everything, ``operator`` sends signals and nothing else; ``users`` are the application's
    roles, whose sessions alone may be told anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(min_length=1)
    port: int = Field(5432, ge=1, le=65535)
    database: str = Field(min_length=1)
    monitor: Role
    operator: Role
    users: tuple[str, ...] = Field(min_length=1)
    sslmode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    root_cert_file: Path | None = None

    @model_validator(mode="after")
    def _never_ourselves(self) -> Connection:
        if ours := sorted({self.monitor.user, self.operator.user} & set(self.users)):
            raise ValueError(f"users must not name our own role {ours[0]}")
        return self

    def tls(self) -> ssl.SSLContext | Literal[False]:
        """How the connection is protected. Raises PermanentError where its root certificate is unusable."""
        if self.sslmode == "disable":
            return False
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.sslmode == "verify-full"
        if self.sslmode == "require":
            context.verify_mode = ssl.CERT_NONE
        if self.root_cert_file is not None:
            try:
                context.load_verify_locations(self.root_cert_file)
            except (OSError, ssl.SSLError) as error:
                raise PermanentError(
                    f"{self.root_cert_file} cannot be used: {type(error).__name__}"
                ) from error
        return context


def read_connections(path: Path) -> dict[str, Connection]:
    """The connections of this file, by name. Raises PermanentError with every complaint, a line each."""
    return read_named(path, Connection, must="connections: NAME: {host, database, monitor, operator, users}")
