"""`stanch standing`: a security lead's yes given in advance; sign it, and see whether it counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.failures import REFUSED, USAGE, Failure
from receiver.cli.options import As, Output, examples

app = typer.Typer(
    no_args_is_help=True,
    help="Standing approvals of isolations.",
    epilog=examples(
        "stanch standing sign standing.yaml --key lena.key",
        "stanch standing check standing.yaml --keys keys/",
    ),
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The standing approval, in YAML.")]


@app.command(epilog=examples("stanch standing sign standing.yaml --key lena.key"))
def sign(
    file: File,
    key: Annotated[Path, typer.Option("--key", help="Your private key: Ed25519, in PEM, not encrypted.")],
    output: As = Output.TEXT,
) -> None:
    """Sign a standing approval; the signature goes into FILE.sig beside it.

    The same by hand: openssl pkeyutl -sign -rawin -inkey lena.key -in FILE | base64 > FILE.sig
    """
    from receiver.clients.standing import parsed, signature_path
    from receiver.clients.standing import sign as signature_of
    from receiver.terminal import screen

    try:
        content, private = file.read_bytes(), key.read_bytes()
        found = parsed(content)
        signature_path(file).write_bytes(signature_of(content, private))
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", code=USAGE) from error
    until = found.valid_until.isoformat(timespec="minutes")
    signature = signature_path(file)
    if output is Output.JSON:
        return screen.print_json({"by": found.by, "valid_until": until, "signature": str(signature)})
    screen.out().print(screen.plain(f"signed for {found.by}, until {until}: {signature}"))
    return None


@app.command(
    epilog=examples(
        "stanch standing check standing.yaml --keys keys/",
        "stanch standing check standing.yaml --keys keys/ --output json",
    )
)
def check(
    file: File,
    keys: Annotated[
        Path,
        typer.Option(
            "--keys", envvar="STANCH_SECURITY_KEYS", help="Folder of public keys: NAME.pem for each lead."
        ),
    ],
    output: As = Output.TEXT,
) -> None:
    """Tell what a standing approval allows now; exits 4 where it allows nothing, with the reason."""
    from datetime import UTC, datetime

    from receiver.clients.standing import StandingFile
    from receiver.terminal import screen

    found = StandingFile(file, keys).read_now()
    if isinstance(found, str):
        raise Failure(found, code=REFUSED)
    if (why := found.not_now(datetime.now(UTC))) is not None:
        raise Failure(why, code=REFUSED)
    acts, scopes = sorted(found.acts), sorted(found.scopes)
    until = found.valid_until.isoformat(timespec="minutes")
    if output is Output.JSON:
        return screen.print_json({"by": found.by, "acts": acts, "scopes": scopes, "valid_until": until})
    words = f"{found.by} allows {', '.join(acts)} in {', '.join(scopes)} until {until}"
    screen.out().print(screen.plain(words))
    return None
