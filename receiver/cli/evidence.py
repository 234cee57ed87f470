"""`stanch evidence`: what was kept of security incidents; check it anywhere, and hand it over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from receiver.cli.failures import NOT_WELL, REFUSED, UNREACHABLE, USAGE, Failure
from receiver.cli.options import DEFAULT_URL, As, IncidentId, Output, TokenFile, Url, examples

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.text import Text

    from receiver.evidence.checking import Checked
    from receiver.evidence.vault import Capture

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    help="Evidence of security incidents.",
    epilog=examples(
        "stanch evidence list", "stanch evidence verify 17", "stanch evidence export 17 -o 17.tar.gz"
    ),
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        envvar="STANCH_EVIDENCE_DIR",
        help="The evidence folder.",
        show_default=False,
    ),
]


@app.command(
    "list", epilog=examples("stanch evidence list", "stanch evidence list --dir /var/lib/stanch/evidence")
)
def list_(folder: Folder = None, output: As = Output.TEXT) -> None:
    """List what is kept, incident by incident, oldest first; nothing is checked."""
    from receiver.terminal import screen

    rows = [_row(capture) for capture in _captures(folder)]
    if output is Output.JSON:
        screen.print_json({"items": rows})
        return
    screen.table(
        ("INCIDENT", "CAPTURE", "BEGUN", "FILES", "BYTES", "GAPS"),
        [
            (
                screen.plain(row["incident"], "bold"),
                screen.plain(row["capture"]),
                screen.plain(screen.moment(row["begun"]) if row["sealed"] else "never sealed", "dim"),
                screen.plain(row["files"]),
                screen.plain(row["bytes"]),
                screen.plain(len(row["gaps"]), "yellow" if row["gaps"] else ""),
            )
            for row in rows
        ],
        none="nothing is kept there",
    )


@app.command(
    epilog=examples(
        "stanch evidence verify 17",
        "stanch evidence verify incident-17/20260301T030000.000000Z-1 --manifest 5e88...d8",
    )
)
def verify(
    what: Annotated[
        str, typer.Argument(metavar="PATH|INCIDENT", help="A folder, or an incident's number in --dir.")
    ],
    folder: Folder = None,
    manifest: Annotated[
        str | None,
        typer.Option(
            "--manifest",
            metavar="SHA256",
            help="What the manifest's hash must be, kept elsewhere; the service is not asked then.",
            show_default=False,
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = None,
    output: As = Output.TEXT,
) -> None:
    """Check every file against its manifest, and that against the incident's timeline where it can be read.

    Exits with 1 where anything differs, and names it.
    """
    from receiver.evidence.checking import check, missing
    from receiver.evidence.vault import captures_at
    from receiver.terminal import screen

    number = int(what) if what.isascii() and what.isdigit() and int(what) else None
    found = _captures(folder, number) if number else _read(lambda: captures_at(_existing(Path(what))))
    told: Mapping[str, str] | None = None
    why = ""
    if manifest is not None:
        told = {capture.name: manifest.lower() for capture in found}
    elif incident := number or _incident(found):
        told, why = _told(incident, url, token_file)
    lacking = missing(found, told) if told is not None and number and manifest is None else ()
    if not found and not lacking:
        raise Failure(f"there is no evidence of incident {what} in {folder}", code=USAGE)
    checked = _read(lambda: check(found, told))
    wrong = [f"{_called(one)}: {words}" for one in checked for words in one.wrong] + list(lacking)
    if output is Output.JSON:
        items = [{**_row(one.capture), "wrong": list(one.wrong)} for one in checked]
        screen.print_json(
            {"ok": not wrong, "wrong": wrong, "proven": told is not None, "why_not": why, "items": items}
        )
    if wrong:
        raise Failure("\n".join(wrong), code=NOT_WELL)
    if output is Output.TEXT:
        console = screen.out()
        for one in checked:
            console.print(_verdict(one))
        kept = "its manifest is the one that was told" if told is not None else f"not proven: {why}"
        console.print(screen.plain(kept))


@app.command(epilog=examples("stanch evidence export 17 -o evidence-17.tar.gz"))
def export(
    incident: IncidentId,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The archive to make, a .tar.gz.")
    ],
    folder: Folder = None,
) -> None:
    """Pack what is kept of an incident into one file, each byte checked against its manifest on the way.

    Prints the archive's SHA-256 as `sha256sum` does. Nothing is written where anything differs.
    """
    from receiver.evidence.checking import check
    from receiver.evidence.packing import pack

    found = _captures(folder, incident)
    checked = _read(lambda: check(found, None))
    wrong = [f"{_called(one)}: {words}" for one in checked for words in one.wrong]
    sealed = [one.capture for one in checked if one.manifest is not None]
    if wrong:
        raise Failure("\n".join(wrong), code=NOT_WELL)
    if not sealed:
        raise Failure(f"there is no evidence of incident {incident} in {folder}", code=USAGE)
    try:
        digest = pack(sealed, output)
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}", code=USAGE) from error
    except ValueError as error:
        raise Failure(str(error), code=NOT_WELL) from error
    print(f"{digest}  {output}")


def _captures(folder: Path | None, incident: int | None = None) -> list[Capture]:
    from receiver.evidence.vault import Vault

    if folder is None:
        raise Failure("name the evidence folder: --dir or STANCH_EVIDENCE_DIR", code=USAGE)
    return _read(lambda: Vault(_existing(folder)).captures(incident))


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise Failure(f"there is no folder {folder}", code=USAGE)
    return folder


def _read(reading: Callable[[], T]) -> T:
    """What was read from the disk. Raises Failure where it cannot be."""
    try:
        return reading()
    except OSError as error:
        raise Failure(f"{error.filename or 'it'} cannot be read: {error.strerror}", code=USAGE) from error


def _incident(found: Sequence[Capture]) -> int | None:
    """The incident that these captures are of, by where they lie or by what they say."""
    for capture in found:
        sealed = capture.sealed()
        if number := capture.incident or (sealed[0].incident if sealed is not None else 0):
            return number
    return None


def _told(incident: int, url: str, token_file: Path | None) -> tuple[Mapping[str, str] | None, str]:
    """The manifests' hashes as the timeline has them; None where it cannot be read, and why."""
    from receiver.cli.client import connect

    try:
        recorded = connect(url, token_file).timeline(incident)
    except Failure as error:
        if error.code not in (UNREACHABLE, REFUSED):
            raise
        return None, f"the timeline could not be read ({error})"
    events = [one.get("event", {}) for one in recorded]
    sealed = (event for event in events if event.get("event") == "EvidenceSealed" and event.get("manifest"))
    return {str(event.get("capture")): str(event.get("manifest")) for event in sealed}, ""


def _called(one: Checked) -> str:
    number = one.capture.incident
    return (f"incident {number}, " if number else "") + f"capture {one.capture.name}"


def _verdict(one: Checked) -> Text:
    from receiver.terminal import screen

    if one.manifest is None:
        return screen.plain(f"{_called(one)}: never sealed, as a later capture says; it proves nothing")
    files = len(one.manifest.files)
    return screen.plain(
        f"{_called(one)}: {files} files are as its manifest says; manifest {one.digest}", "green"
    )


def _row(capture: Capture) -> dict[str, Any]:
    sealed = capture.sealed()
    row = {"incident": capture.incident, "capture": capture.name, "path": os.fspath(capture.path)}
    if sealed is None:
        return {**row, "sealed": False, "manifest": None, "begun": None, "files": 0, "bytes": 0, "gaps": []}
    manifest, digest = sealed
    return {
        **row,
        "sealed": True,
        "manifest": digest,
        "begun": manifest.begun.isoformat(),
        "files": len(manifest.files),
        "bytes": manifest.bytes,
        "gaps": [str(gap) for gap in manifest.gaps],
    }
