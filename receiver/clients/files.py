"""Files of ours that name what lies outside the cluster, and the secrets beside them.

Nothing that such a file says is ever quoted: somebody may have written a secret where none belongs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from receiver.domain.errors import PermanentError
from receiver.domain.names import DNS_LABEL, DNS_LABEL_IS

Named = TypeVar("Named", bound=BaseModel)


def read_named(path: Path, model: type[Named], *, must: str) -> dict[str, Named]:
    """The entries of this file, by name; ``must`` says what belongs in it.

    A setting of a secret (``password``) is a mistake for the setting of its file (``password_file``). Raises
    PermanentError with every complaint, a line each.
    """
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        # What a parser says quotes the line.
        raise PermanentError(f"{path} cannot be read: {type(error).__name__}") from None
    if not isinstance(content, dict) or not content:
        raise PermanentError(f"{path} must name {must}")
    found: dict[str, Named] = {}
    complaints: list[str] = []
    for name, entry in content.items():
        if not isinstance(name, str) or not DNS_LABEL.fullmatch(name):
            complaints.append(f"{str(name)[:60]!r} is not a name: {DNS_LABEL_IS}")
            continue
        try:
            found[name] = model.model_validate(entry)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                complaints.append(_complaint(name, problem["loc"], problem["type"], problem["msg"]))
    if complaints:
        raise PermanentError("\n".join(f"{path}: {complaint}" for complaint in complaints))
    return found


def read_secret(path: Path, what: str) -> str:
    """The secret in this file as it is now, without the line's end. Raises PermanentError."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise PermanentError(f"the {what} file {path} cannot be read: {why}") from error


def _complaint(name: str, place: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join([name, *(str(part) for part in place)])
    if kind == "extra_forbidden":
        secret = place[-1] if place and place[-1] in ("password", "token") else None
        hint = f": write {secret}_file, the name of a file" if secret else ""
        return f"{where}: there is no such setting{hint}"
    return f"{where}: {message.removeprefix('Value error, ')}"
