"""Single key presses of whoever watches the demo, where there is a terminal to press them on."""

from __future__ import annotations

import asyncio
import sys
import termios
import tty
from typing import Any


class Keys:
    """An endless stream of keys; without a terminal it never yields one."""

    def __init__(self, *, interactive: bool) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._before: list[Any] | None = None
        if interactive and sys.stdin.isatty() and sys.stdout.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            # Keys at once, without echo; Ctrl-C still interrupts.
            tty.setcbreak(sys.stdin.fileno())
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)

    def __aiter__(self) -> Keys:
        return self

    async def __anext__(self) -> str:
        return await self._queue.get()

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._before is not None:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None

    def _read(self) -> None:
        self._queue.put_nowait(sys.stdin.read(1).lower())
