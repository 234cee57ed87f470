"""`make docs`: runs the demo and keeps what its terminal showed as the picture in the README."""

from __future__ import annotations

import asyncio
import io
import re
from pathlib import Path

from rich.console import Console

from receiver.demo.run import DemoOptions, run

WIDTH = 118
PICTURE = Path(__file__).parent.parent.parent / "docs" / "demo.svg"


def main() -> None:
    """Write the picture, if the demo ended well."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    options = DemoOptions(yes=True, scenario="inc-001", speed=240.0, output="text")
    if asyncio.run(run(options, console)) != 0:
        raise SystemExit("the demo did not end well; the picture stays as it is")
    picture = console.export_svg(title="make run ARGS=--yes")
    # The fonts would be fetched from elsewhere; a monospaced one is on every machine.
    PICTURE.write_text(re.sub(r"@font-face\s*\{[^}]*\}", "", picture), encoding="utf-8")
    print(f"wrote {PICTURE.name}")  # noqa: T201


if __name__ == "__main__":
    main()
