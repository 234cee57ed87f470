"""`stanch policy`: check and test policy files before they are put where the service reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import policy_files, policy_replay, policy_tests
from receiver.cli.failures import NOT_WELL, USAGE, Failure
from receiver.cli.options import Output, examples

app = typer.Typer(
    no_args_is_help=True,
    help="Policy files.",
    epilog=examples("stanch policy check policies/", "stanch policy test policies/"),
)


@app.command(
    epilog=examples(
        "stanch policy check", "stanch policy check policies/", "stanch policy check mine.yaml --format json"
    )
)
def check(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A file or a folder. Default: the pack that comes with the package."
        ),
    ] = None,
    form: Annotated[
        Output, typer.Option("--format", "--output", "-o", help="text for people, json for programs.")
    ] = Output.TEXT,
) -> None:
    """Check policy files and their tests: every complaint with its place and what to write instead."""
    from receiver.packaged import policies
    from receiver.terminal import screen
    from receiver.trials.policy_test.folder import check_all

    try:
        folder = path if path is not None else policies()
        if not folder.exists():
            raise Failure(f"{folder}: there is no such file or folder", code=USAGE)
        checked = check_all(folder)
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: a file is not UTF-8 text", code=USAGE) from error
    except OSError as error:
        raise Failure(f"{error.filename or path}: {error.strerror or error}", code=USAGE) from error
    if not checked.files:
        raise Failure(f"{folder}: there is no YAML file", code=USAGE)
    if form is Output.JSON:
        screen.print_json(
            {
                "ok": checked.ok,
                "files": list(checked.files),
                "complaints": [complaint.as_json() for complaint in checked.complaints],
            }
        )
    else:
        console = screen.out()
        for complaint in checked.complaints:
            console.print(screen.plain(str(complaint), lines=True), soft_wrap=True)
        if checked.ok:
            found = f"policies {checked.policies}, tests {checked.tests}, files {len(checked.files)}"
            console.print(screen.plain(f"all is well: {found}", "green"))
    if not checked.ok:
        raise typer.Exit(NOT_WELL)


app.command("test", epilog=policy_tests.EXAMPLES)(policy_tests.play)
app.command(epilog=policy_replay.EXAMPLES)(policy_replay.replay)
app.command("list", epilog=policy_files.LIST_EXAMPLES)(policy_files.list_policies)
app.command(epilog=policy_files.DIFF_EXAMPLES)(policy_files.diff)
app.command(epilog=policy_files.SCHEMA_EXAMPLES)(policy_files.schema)
