"""What the databases file says: which servers are looked after, as whom, and whose sessions may go.

Passwords are named by file and read for each connection that is opened, so that they can be replaced while
the service runs; none is ever kept in a setting, a plan or a message.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from receiver.domain.errors import PermanentError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Role(BaseModel):
    """One role to connect as."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(min_length=1)
    password_file: Path

    def password(self) -> str:
        """Its password as the file has it now. Raises PermanentError where that cannot be read."""
        try:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise PermanentError(f"the password file {self.password_file} cannot be read: {why}") from error


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
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        # What a parser says quotes the line.
        raise PermanentError(f"{path} cannot be read: {type(error).__name__}") from None
    if not isinstance(content, dict) or not content:
        raise PermanentError(
            f"{path} must name connections: NAME: {{host, database, monitor, operator, users}}"
        )
    found: dict[str, Connection] = {}
    complaints: list[str] = []
    for name, entry in content.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            complaints.append(f"{str(name)[:60]!r} is not a name: small letters, digits and - only")
            continue
        try:
            found[name] = Connection.model_validate(entry)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                complaints.append(_complaint(name, problem["loc"], problem["type"], problem["msg"]))
    if complaints:
        raise PermanentError("\n".join(f"{path}: {complaint}" for complaint in complaints))
    return found


def _complaint(name: str, place: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join([name, *(str(part) for part in place)])
    if kind == "extra_forbidden":
        hint = ": write password_file, the name of a file" if place and place[-1] == "password" else ""
        return f"{where}: there is no such setting{hint}"
    return f"{where}: {message.removeprefix('Value error, ')}"
