"""`stanch rbac`: the least rights in the cluster that the policies need."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from receiver.cli.options import examples
from receiver.cli.policy_files import Folder

RBAC_EXAMPLES = examples(
    "stanch rbac", "stanch rbac policies/ | kubectl diff -f -", "stanch rbac --format table"
)


class Form(StrEnum):
    """How rights are printed."""

    YAML = "yaml"
    JSON = "json"
    TABLE = "table"


def rbac(
    path: Folder = None,
    form: Annotated[
        Form, typer.Option("--format", "--output", "-o", help="yaml is for kubectl.")
    ] = Form.YAML,
) -> None:
    """Print the Roles that the service needs for these policies, and nothing more.

    The reader looks, the executor writes, the isolator isolates; bind each to an account of its own.
    Namespaces are those that the policies list, and where a policy fixes the names of its targets, the
    executor may write only these. Where a policy has `security` signs, the reader may read what evidence is
    made of, and the isolator may do what they isolate by.
    """
    from receiver.cli.policy_files import loaded_from
    from receiver.evidence.selection import READS as EVIDENCE
    from receiver.policy.rbac import grants, roles
    from receiver.probes.catalogue import READS
    from receiver.terminal import screen
    from remediations.isolation.registry import SPECS
    from remediations.registry import catalogue

    isolations = {spec.act: spec for spec in SPECS}
    found = grants(loaded_from(path), catalogue(), READS, EVIDENCE, isolations)
    match form:
        case Form.JSON:
            screen.print_json({"items": roles(found)})
        case Form.YAML:
            import yaml

            print(yaml.safe_dump_all(roles(found), sort_keys=False), end="")
        case Form.TABLE:
            screen.table(
                ("ROLE", "NAMESPACE", "RIGHT", "NAMES"),
                [
                    (
                        screen.plain(grant.role, "bold"),
                        screen.plain(grant.namespace or "(all)"),
                        screen.plain(str(grant.permission)),
                        screen.plain(", ".join(grant.names) or "-"),
                    )
                    for grant in sorted(
                        found, key=lambda one: (one.role, one.namespace or "", str(one.permission))
                    )
                ],
                none="these policies need no rights",
            )
