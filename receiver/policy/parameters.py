"""What a policy writes below ``with``, held against what the remediation takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from receiver.domain.plans import Spec
from receiver.policy.complaints import did_you_mean


@dataclass(frozen=True)
class WrongParameter:
    """One finding; ``about_name`` where the name itself is wrong and not what stands behind it."""

    name: str
    message: str
    hint: str = ""
    about_name: bool = False


def wrong_parameters(spec: Spec, found: Mapping[str, Any]) -> Iterator[WrongParameter]:
    """Every parameter that is unknown, missing, or of another kind than the remediation takes."""
    try:
        spec.parameters.model_validate(dict(found))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            yield _finding(spec, detail)


def _finding(spec: Spec, detail: ErrorDetails) -> WrongParameter:
    name = str(detail["loc"][0]) if detail["loc"] else ""
    inside = "".join(f".{part}" for part in detail["loc"][1:])
    match detail["type"]:
        case "extra_forbidden" if not inside:
            hint = did_you_mean(name, spec.parameters.model_fields)
            return WrongParameter(name, f'{spec.name} has no parameter "{name}"', hint, about_name=True)
        case "missing" if not inside:
            return WrongParameter(name, f'{spec.name} needs the parameter "{name}"', f"add {name}: ...")
        case "literal_error":
            wanted = str(detail.get("ctx", {}).get("expected", "")).replace("'", "")
            message = f"{spec.name} takes no other value for {name}{inside} than {wanted}"
            return WrongParameter(name, message, f"write {wanted}")
        case "value_error":
            said = str(detail["msg"]).removeprefix("Value error, ")
            return WrongParameter(name, f"{spec.name}: {name}{inside}{': ' if name else ''}{said}")
        case _:
            said = str(detail["msg"]).replace("Input should be", "must be")
            return WrongParameter(name, f"{spec.name}: {name}{inside} {said}")
