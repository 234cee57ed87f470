"""`stanch policy list`, `diff` and `schema`: what policy files say, what changed, what an editor needs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from receiver.cli.failures import NOT_WELL, USAGE, Failure
from receiver.cli.options import As, Output, examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.policy.comparing import Difference
    from receiver.policy.model import Policy, PolicySet

Read = TypeVar("Read")

LIST_EXAMPLES = examples(
    "stanch policy list",
    "stanch policy list policies/mine.yaml",
    "stanch policy list policies/ --output json",
)
DIFF_EXAMPLES = examples(
    "stanch policy diff old/ new/",
    "stanch policy diff old/ new/ --format markdown",
    "stanch policy diff old/ new/ --fail-on looser",
)
SCHEMA_EXAMPLES = examples(
    "stanch policy schema --write .stanch/", "stanch policy schema", "stanch policy schema --format markdown"
)
PATH_HELP = (
    "A folder, or one file, with which the approvers, limits, defaults and correlation of its folder count. "
    "Default: the pack that comes with the package."
)
MODELINE = "# yaml-language-server: $schema="


class Shown(StrEnum):
    """How differences are printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


class Form(StrEnum):
    """How the shape of files is told: to an editor, or to people."""

    JSON = "json"
    MARKDOWN = "markdown"


class FailOn(StrEnum):
    """Which differences end with exit code 1."""

    LOOSER = "looser"
    ANY = "any"


Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[PATH]", help=PATH_HELP),
]


def read_from(path: Path | None, read: Callable[[Path], Read | None]) -> Read:
    """What ``read`` makes of a file or a folder (None: the packaged one). Raises Failure where there is none,
    or where a file cannot be read.
    """
    from receiver.packaged import policies, unreadable

    folder = path if path is not None else policies()
    try:
        found = read(folder)
    except OSError as error:
        raise Failure(unreadable(error), code=USAGE) from error
    if not found:
        raise Failure(f"{folder}: there is no YAML file", code=USAGE)
    return found


def loaded_from(path: Path | None) -> PolicySet:
    """The policies of a file or folder (None: the packaged ones). Raises Failure with every complaint."""
    from receiver.policy.loading import load
    from receiver.probes.catalogue import FACTS
    from receiver.trials.policy_test.folder import policy_texts
    from remediations.registry import catalogue

    found = load(read_from(path, policy_texts), catalogue=catalogue(), probe_facts=FACTS)
    if found.policies is None:
        raise Failure("\n".join(str(complaint) for complaint in found.errors), code=NOT_WELL)
    return found.policies


def list_policies(path: Folder = None, output: As = Output.TEXT) -> None:
    """List policies: what they match, how far they go by themselves, and what they would do."""
    from receiver.terminal import screen

    policies = loaded_from(path).policies
    if output is Output.JSON:
        return screen.print_json({"items": [_as_json(policy) for policy in policies]})
    screen.table(
        ("POLICY", "MODE", "ALERTS", "TARGET", "PROPOSES", "FILE"),
        [
            (
                screen.plain(policy.name, "bold"),
                screen.plain(policy.mode.value),
                screen.plain(" ".join(str(matcher) for matcher in policy.match.matchers)),
                screen.plain(f"{policy.target.kind} {policy.target.namespace}/{policy.target.name}"),
                screen.plain(", ".join(candidate.remediation for candidate in policy.candidates) or "-"),
                screen.plain(policy.file),
            )
            for policy in policies
        ],
        none="no policy",
    )
    return None


def _as_json(policy: Policy) -> dict[str, object]:
    return {
        "name": policy.name,
        "mode": policy.mode.value,
        "alerts": [str(matcher) for matcher in policy.match.matchers],
        "target": {
            "kind": policy.target.kind,
            "namespace": policy.target.namespace,
            "name": policy.target.name,
        },
        "remediations": [candidate.remediation for candidate in policy.candidates],
        "owner": policy.owner,
        "runbook": policy.runbook,
        "hash": policy.hash,
        "file": policy.file,
    }


def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A file or a folder.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="A file or a folder.")],
    form: Annotated[
        Shown, typer.Option("--format", "--output", "-o", help="markdown is for a pull request.")
    ] = Shown.TEXT,
    fail_on: Annotated[
        FailOn | None,
        typer.Option("--fail-on", help="End with 1 where a rule got looser, or on any.", show_default=False),
    ] = None,
) -> None:
    """Show what two sets of policies say differently; comments and the order of files do not count.

    Looser is what lets more happen: fewer people to ask, a larger budget, a guard that is gone.
    """
    from receiver.policy.comparing import Weight, as_markdown, differences
    from receiver.terminal import screen

    found = differences(loaded_from(before), loaded_from(after))
    match form:
        case Shown.JSON:
            screen.print_json({"items": [one.as_json() for one in found]})
        case Shown.MARKDOWN:
            print(as_markdown(found), end="")
        case Shown.TEXT:
            _table(found)
    looser = [one for one in found if one.weight is Weight.LOOSER]
    if found if fail_on is FailOn.ANY else (looser if fail_on is FailOn.LOOSER else ()):
        raise typer.Exit(NOT_WELL)


def _table(found: tuple[Difference, ...]) -> None:
    from receiver.terminal import screen

    styles = {"looser": "bold red", "stricter": "green", "": ""}
    screen.table(
        ("POLICY", "WHAT", "BEFORE", "AFTER", ""),
        [
            (
                screen.plain(one.policy or "(cluster)", "bold"),
                screen.plain(one.what),
                screen.plain("-" if one.before is None else one.before),
                screen.plain("-" if one.after is None else one.after),
                screen.plain(one.weight.value, styles[one.weight.value]),
            )
            for one in found
        ],
        none="the policies say the same",
    )


def schema(
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="DIR", help="Write the schema there.", show_default=False),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", "--output", "-o", help="markdown prints every key as a page.")
    ] = Form.JSON,
) -> None:
    """The shape of policy files as a JSON Schema, for completion and checking in the editor.

    With the YAML language server, put the line that --write prints at the top of
    a file. DIR is taken to stand in the folder of the policies.
    """
    import json

    from receiver.policy.json_schema import ID
    from receiver.policy.json_schema import schema as json_schema
    from receiver.policy.reference import reference as page
    from receiver.policy.vocabulary import Vocabulary
    from receiver.probes.catalogue import FACTS
    from receiver.terminal import screen
    from receiver.trials.policy_test.grammar import POLICY_TEST
    from remediations.registry import catalogue

    vocabulary = Vocabulary(catalogue(), FACTS)
    if form is Form.MARKDOWN:
        print(page(vocabulary, (POLICY_TEST,)), end="")
        return
    text = json.dumps(json_schema(vocabulary, (POLICY_TEST,)), indent=2) + "\n"
    if write is None:
        print(text, end="")
        return
    path = write / ID
    try:
        write.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{error.filename or path}: {error.strerror or error}", code=USAGE) from error
    # The language server looks from the file that the line stands in, wherever that is opened from.
    folder, name = write.absolute().parent, write.absolute().name
    shown = write.parent if write.parent.absolute() == folder else folder
    console = screen.out()
    for what, where, above in (("policies", shown, ""), ("tests", shown / "tests", "../")):
        console.print(screen.plain(f"at the top of {what} in {where}:"), soft_wrap=True)
        console.print(screen.plain(f"{MODELINE}{above}{name}/{ID}"), soft_wrap=True)
