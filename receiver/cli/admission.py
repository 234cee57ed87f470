"""`stanch admission`: what the API server is to refuse the service's own accounts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from receiver.cli.options import examples
from receiver.policy.admission import ACCOUNTS, ISOLATOR_ACCOUNT

ADMISSION_EXAMPLES = examples(
    "stanch admission | kubectl apply -f -",
    "stanch admission --account system:serviceaccount:ops:stanch",
    "stanch admission -o json",
)


class Form(StrEnum):
    """How policies are printed."""

    YAML = "yaml"
    JSON = "json"


def admission(
    account: Annotated[
        list[str], typer.Option("--account", help="An account that Stanch works as; give each.")
    ] = list(ACCOUNTS),  # noqa: B006
    isolator: Annotated[
        str,
        typer.Option(
            "--isolator",
            envvar="STANCH_ISOLATOR",
            help="The account that security incidents are isolated as.",
        ),
    ] = ISOLATOR_ACCOUNT,
    form: Annotated[Form, typer.Option("--output", "-o", help="yaml is for kubectl.")] = Form.YAML,
) -> None:
    """Print the admission policies for the service's own accounts.

    None of them may delete anything, evict or change a pod in quarantine, or set what runs to no replicas.
    The isolator may put pods into quarantine, cordon and taint nodes, and create two kinds of network policy.
    They are ValidatingAdmissionPolicies with their bindings, which every Kubernetes since 1.30 has.
    """
    from receiver.policy.admission import admissions, documents
    from receiver.terminal import screen

    found = documents(admissions(account, isolator))
    match form:
        case Form.JSON:
            screen.print_json({"items": found})
        case Form.YAML:
            import yaml

            print(yaml.safe_dump_all(found, sort_keys=False), end="")
