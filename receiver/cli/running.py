"""`stanch serve`, `migrate` and `settings`: the commands that are the service rather than ask it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.options import As, Output, examples

if TYPE_CHECKING:
    from receiver.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="STANCH_CONFIG",
        help="YAML file of settings; the environment comes first.",
        show_default=False,
    ),
]

SERVE_EXAMPLES = examples(
    "stanch serve --config /etc/stanch/stanch.yaml",
    "STANCH_KUBE_CONTEXT=in-cluster STANCH_PROMETHEUS_URL=http://prometheus:9090 stanch serve",
)
MIGRATE_EXAMPLES = examples("STANCH_STORE=postgresql://stanch@db/stanch stanch migrate")
SETTINGS_EXAMPLES = examples("stanch settings", "stanch settings --config stanch.yaml --output json")


def serve(
    insecure_no_auth: Annotated[
        bool, typer.Option("--insecure-no-auth", help="Take alerts from everybody. For trials only.")
    ] = False,
    config: Config = None,
    output: As = Output.TEXT,
) -> None:
    """Run the service until SIGTERM or Ctrl-C, then finish what is begun.

    The cluster must be named: STANCH_KUBE_CONTEXT. See `stanch settings` for everything that can be set.
    """
    from receiver.cli.logs import configure

    settings = read(config, {"insecure_no_auth": True} if insecure_no_auth else {})
    configure(level=settings.log_level, form=settings.log_format)
    import asyncio

    asyncio.run(_serve(settings, output))


async def _serve(settings: Settings, output: Output) -> None:
    import asyncio
    import signal

    from receiver.store import migrate

    # It goes on in a process of its own while everything else is imported here.
    preparing = migrate.begin(settings.store)
    try:
        from receiver.app import serving
        from receiver.terminal import screen
    except BaseException:
        preparing.stop()
        raise

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings, preparing=preparing) as service:
        if output is Output.JSON:
            screen.print_json({"listening": service.url}, indent=None)
        else:
            print(f"stanch listens on {service.url}", flush=True)
        await stop.wait()
        # A second Ctrl-C does not wait for what is being finished.
        loop.remove_signal_handler(signal.SIGINT)


def migrate(config: Config = None, output: As = Output.TEXT) -> None:
    """Bring the store to this release's schema; `serve` does so at its start as well."""
    from receiver.cli.failures import NOT_WELL, Failure
    from receiver.cli.logs import hide
    from receiver.domain.errors import PermanentError
    from receiver.store.migrate import HEAD, prepare
    from receiver.terminal import screen

    settings = read(config)
    store = hide(settings.store)
    try:
        prepare(settings.store)
    except PermanentError as error:
        raise Failure(hide(f"{store}: {error}"), code=NOT_WELL) from error
    if output is Output.JSON:
        return screen.print_json({"store": store, "schema": HEAD})
    screen.out().print(screen.plain(f"{store} has the schema of this release ({HEAD})"))
    return None


def settings(config: Config = None, output: As = Output.TEXT) -> None:
    """List every setting: what it means, its default, and what it is now. Secrets are hidden."""
    from receiver.cli.logs import hide
    from receiver.settings import PREFIX, Settings
    from receiver.terminal import screen

    now = read(config).model_dump(mode="json")
    defaults = Settings.model_construct().model_dump(mode="json")
    found = [
        {
            "name": f"{PREFIX}{name.upper()}",
            "meaning": field.description or "",
            "default": _hidden(defaults.get(name), hide),
            "value": _hidden(now[name], hide),
            "set": now[name] != defaults.get(name),
        }
        for name, field in Settings.model_fields.items()
    ]
    if output is Output.JSON:
        return screen.print_json({"settings": found})
    console = screen.out()
    for one in found:
        line = screen.plain(one["name"], "bold").append(" = ")
        console.print(line.append_text(screen.plain(_shown(one["value"]), "cyan" if one["set"] else "")))
        default = f" (default: {_shown(one['default'])})" if one["set"] else ""
        console.print(screen.plain(f"    {one['meaning']}{default}", "dim"), soft_wrap=True)
    return None


def read(config: Path | None, overrides: dict[str, Any] | None = None) -> Settings:
    """The settings of this process. Raises PermanentError with all complaints."""
    import yaml

    from receiver.domain.errors import PermanentError
    from receiver.settings import read_settings

    if config is not None:
        os.environ["STANCH_CONFIG"] = str(config)
    try:
        return read_settings(overrides)
    except yaml.MarkedYAMLError as error:
        # Its own words quote the file, which may hold a password.
        line = error.problem_mark.line + 1 if error.problem_mark is not None else "?"
        raise PermanentError(f"STANCH_CONFIG: {config}, line {line}: this is no YAML") from error
    except (yaml.YAMLError, OSError, TypeError, ValueError) as error:
        raise PermanentError(
            f"STANCH_CONFIG: {config} cannot be read as settings; it must be a YAML map of names to values"
        ) from error


def _hidden(value: Any, hide: Any) -> Any:
    if isinstance(value, str):
        return hide(value)
    return [_hidden(one, hide) for one in value] if isinstance(value, list) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or value == []:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
