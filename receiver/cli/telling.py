"""What people tell the service of an incident, and the one line that they get back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.cli.options import Call, Output


def tell(incident: int, what: str, body: Mapping[str, Any], told: str, call: Call) -> None:
    """Post it, and print ``told``, or the incident as it is then for programs."""
    from receiver.cli.client import connect
    from receiver.terminal import screen

    found = connect(call.url, call.token_file).post(f"/incidents/{incident}/{what}", dict(body))
    if call.output is Output.JSON:
        return screen.print_json(found)
    screen.out().print(screen.plain(told))
    return None
