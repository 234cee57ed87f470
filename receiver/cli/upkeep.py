"""`stanch prune` and `stanch backup`: what a person does with the store by hand, without the service."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.failures import NOT_WELL, USAGE, Failure
from receiver.cli.options import As, Output, examples
from receiver.cli.running import Config, read

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from receiver.pipeline.pruning import Old
    from receiver.store.engine import Store

PRUNE_EXAMPLES = examples("stanch prune --older-than 30d --dry-run", "stanch prune --older-than 30d --yes")
BACKUP_EXAMPLES = examples(
    "stanch backup /backup/stanch-monday.sqlite3",
    "STANCH_STORE=sqlite:////var/lib/stanch/stanch.sqlite3 stanch backup monday.sqlite3",
)


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Such as 12h or 30d; an hour at least.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and drop nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    output: As = Output.TEXT,
) -> None:
    """Drop from the store what is old and done with: webhook bodies, delivered messages, findings.

    The service does so by itself after STANCH_RETENTION; this is for when there is no time to wait.
    Timelines stay, and with them plans, approvals and what was carried out: the audit chain covers
    them. What an open incident needs stays, and so does evidence. It goes in small steps: interrupt it
    whenever you like. An SQLite store must not be in use.
    """
    import asyncio
    from datetime import timedelta

    from receiver.domain.durations import read_duration

    age = read_duration(older_than)
    if age is None or age < timedelta(hours=1):
        raise typer.BadParameter(
            "it is an age such as 12h or 30d, an hour at least", param_hint="--older-than"
        )
    settings = read(config)
    asyncio.run(_prune(settings.store, age, dry_run=dry_run, yes=yes, output=output))


async def _prune(url: str, age: timedelta, *, dry_run: bool, yes: bool, output: Output) -> None:
    import sys

    from receiver.app import WallClock
    from receiver.pipeline import pruning
    from receiver.terminal import screen
    from receiver.terminal.progress import Bar

    before = WallClock().now() - age
    store = await _opened(url)
    try:
        found = await pruning.count(store, before)
        if dry_run or not found.total:
            return _told(found, before, output, dropped=False)
        if not yes:
            if not screen.on_terminal():
                raise Failure("nobody can be asked here; say --yes, or --dry-run", code=USAGE)
            sys.stderr.write(f"{_words(found)}, done with before {screen.moment(before.timestamp())}\n")
            if not screen.confirmed("Drop them?"):
                raise Failure("nothing was dropped", code=NOT_WELL)
        with Bar("dropping", found.total) as bar:
            gone = await pruning.prune(store, before, dropped=bar.advance)
        return _told(gone, before, output, dropped=True)
    finally:
        await store.close()


async def _opened(url: str) -> Store:
    """The store, if it is there and of this release. Raises Failure, and Unavailable where it is away."""
    from receiver.cli.logs import hide
    from receiver.store.looking import look_at_postgres, look_at_sqlite
    from receiver.store.migrate import HEAD, sqlite_path

    store: Store
    if url.startswith("sqlite:///"):
        from receiver.store.sqlite import open_sqlite

        looked = look_at_sqlite(sqlite_path(url))
        if looked is None:
            raise Failure(f"there is no store {sqlite_path(url)} (STANCH_STORE)", code=USAGE)
        store = open_sqlite(sqlite_path(url))
    else:
        from receiver.store.postgres import open_postgres

        store = open_postgres(url)
        try:
            looked = await store.read(look_at_postgres)
        except BaseException:
            await store.close()
            raise
    if looked.revision == HEAD:
        return store
    await store.close()
    told = f"{hide(url)} has the schema {looked.revision or 'of no release'}, and this release's is {HEAD}"
    raise Failure(f"{told}; see `stanch doctor`", code=NOT_WELL)


def _told(old: Old, before: datetime, output: Output, *, dropped: bool) -> None:
    from receiver.terminal import screen

    if output is Output.JSON:
        return screen.print_json({"before": before.isoformat(), "dropped": dropped, **asdict(old)})
    doing = "dropped" if dropped else "would drop"
    return screen.out().print(screen.plain(f"{doing} {_words(old)}"))


def _words(old: Old) -> str:
    return f"{old.deliveries} webhook bodies, {old.messages} delivered messages, {old.facts} findings"


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    config: Config = None,
    output: As = Output.TEXT,
) -> None:
    """Copy an SQLite store to a file while the service runs: one moment of it, whole.

    The copy is written beside FILE first and takes its name once it is whole. A PostgreSQL store is
    saved with pg_dump, and evidence by copying its folder.
    """
    from receiver.store.copying import copy_sqlite
    from receiver.store.migrate import sqlite_path
    from receiver.terminal import screen
    from receiver.terminal.progress import Bar

    url = read(config).store
    if not url.startswith("sqlite:///"):
        raise Failure(
            "this store is PostgreSQL: save it with pg_dump --format=custom --file=FILE DATABASE", code=USAGE
        )
    with Bar("copying", None) as bar:
        copied = copy_sqlite(sqlite_path(url), file, copied=bar.portion)
    if output is Output.JSON:
        return screen.print_json({"file": str(file), "bytes": copied.size_bytes, "schema": copied.revision})
    told = f"{file} holds the store as it was: {copied.size_bytes} bytes, schema {copied.revision}"
    return screen.out().print(screen.plain(told), soft_wrap=True)
