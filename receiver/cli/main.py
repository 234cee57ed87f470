"""The entry point: every command in one tree, and one place where errors become a sentence and an exit code.

Modules that a command needs are imported when it runs, so that help and completion answer at once.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from receiver.cli import (
    admission,
    alerts,
    approvals,
    audit,
    doctor,
    evidence,
    incidents,
    plans,
    policy,
    rbac,
    remediations,
    running,
    security,
    standing,
    switches,
    trying,
    upkeep,
    why,
)
from receiver.cli.failures import exit_code
from receiver.cli.options import examples
from receiver.domain.errors import StanchError

INTERRUPTED = 130

HELP = """Takes Prometheus alerts, proposes the remedy, does it once, looks whether it helped.

Commands that ask a running service use STANCH_URL (http://127.0.0.1:8080),
and STANCH_TOKEN or STANCH_TOKEN_FILE. NO_COLOR is honoured.

[bold]Exit codes[/bold]
0  well
1  what was asked about is not well, or you said no
2  wrong usage or settings
3  the service cannot be reached, or cannot answer now
4  the service refused (401, 403, 404, 409)
130  interrupted by Ctrl-C
"""


class Commands(TyperGroup):
    """The root of the tree: an error of ours ends the command with its sentence, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except StanchError as error:
            from receiver.terminal.screen import complain

            complain(str(error))
            raise typer.Exit(exit_code(error)) from error
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="stanch",
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=examples("stanch demo --yes", "stanch incidents list --open", "stanch approve P-17"),
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"stanch {version('stanch')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


_ASK = "Ask a running service"
_RUN = "Run and try"

app.command(epilog=trying.DEMO_EXAMPLES, rich_help_panel=_RUN)(trying.demo)
app.command(epilog=running.SERVE_EXAMPLES, rich_help_panel=_RUN)(running.serve)
app.command(epilog=doctor.DOCTOR_EXAMPLES, rich_help_panel=_RUN)(doctor.doctor)
app.command(epilog=running.MIGRATE_EXAMPLES, rich_help_panel=_RUN)(running.migrate)
app.command(epilog=upkeep.PRUNE_EXAMPLES, rich_help_panel=_RUN)(upkeep.prune)
app.command(epilog=upkeep.BACKUP_EXAMPLES, rich_help_panel=_RUN)(upkeep.backup)
app.command(epilog=running.SETTINGS_EXAMPLES, rich_help_panel=_RUN)(running.settings)
app.command(epilog=trying.EXPLAIN_EXAMPLES, rich_help_panel=_RUN)(trying.explain)
app.add_typer(policy.app, name="policy", rich_help_panel=_RUN)
app.add_typer(remediations.app, name="remediations", rich_help_panel=_RUN)
app.command(epilog=rbac.RBAC_EXAMPLES, rich_help_panel=_RUN)(rbac.rbac)
app.command(epilog=admission.ADMISSION_EXAMPLES, rich_help_panel=_RUN)(admission.admission)
app.add_typer(incidents.app, name="incidents", rich_help_panel=_ASK)
app.add_typer(plans.app, name="plans", rich_help_panel=_ASK)
app.command(epilog=why.WHY_EXAMPLES, rich_help_panel=_ASK)(why.why)
app.command(name="why-not", epilog=why.WHY_NOT_EXAMPLES, rich_help_panel=_ASK)(why.why_not)
app.command(epilog=approvals.APPROVE_EXAMPLES, rich_help_panel=_ASK)(approvals.approve)
app.command(epilog=approvals.BREAKGLASS_EXAMPLES, rich_help_panel=_ASK)(approvals.breakglass)
app.command(epilog=approvals.DENY_EXAMPLES, rich_help_panel=_ASK)(approvals.deny)
app.command(epilog=switches.PAUSE_EXAMPLES, rich_help_panel=_ASK)(switches.pause)
app.command(epilog=switches.RESUME_EXAMPLES, rich_help_panel=_ASK)(switches.resume)
app.add_typer(alerts.app, name="alerts", rich_help_panel=_ASK)
app.add_typer(audit.app, name="audit", rich_help_panel=_ASK)
app.add_typer(evidence.app, name="evidence", rich_help_panel=_ASK)
app.add_typer(security.app, name="security", rich_help_panel=_ASK)
app.add_typer(standing.app, name="standing", rich_help_panel=_RUN)


def main() -> None:
    """What the `stanch` command runs."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows a question mark rather than nothing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app()


if __name__ == "__main__":
    main()
