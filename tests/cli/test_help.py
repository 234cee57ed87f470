"""Help is complete, says what one would type, and loads nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from receiver.cli.main import app

if TYPE_CHECKING:
    from tests.cli.conftest import Stanch


def commands() -> Iterator[tuple[str, ...]]:
    """Every command and every family of commands, by its words."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, one in getattr(command, "commands", {}).items():
            yield from below(one, (*words, name))

    return below(typer.main.get_command(app), ())


ALL = list(commands())


@pytest.mark.parametrize("words", ALL, ids=lambda words: " ".join(words) or "stanch")
def test_every_command_explains_itself_with_an_example(nowhere: Stanch, words: tuple[str, ...]) -> None:
    result = nowhere(*words, "--help")
    assert result.exit_code == 0
    examples = result.stdout.partition("Examples")[2]
    assert " ".join(("stanch", *words)) in examples
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("words", ALL, ids=lambda words: " ".join(words) or "stanch")
def test_every_command_prints_text_or_json(words: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    if not hasattr(command, "commands"):
        assert any("--output" in parameter.opts for parameter in command.params)


def test_the_exit_codes_stand_in_the_help(nowhere: Stanch) -> None:
    text = nowhere("--help").stdout
    assert all(f"{code}  " in text.partition("Exit codes")[2] for code in (0, 1, 2, 3, 4))


def test_the_version_is_told(nowhere: Stanch) -> None:
    assert nowhere("--version").stdout.startswith("stanch 0.")


def test_no_token_can_be_given_as_an_argument(nowhere: Stanch) -> None:
    assert all("--token " not in nowhere(*words, "--help").stdout for words in ALL)


@pytest.mark.parametrize("words", [(), ("incidents",), ("policy", "check")], ids=" ".join)
def test_help_loads_neither_a_kubernetes_client_nor_a_store(words: tuple[str, ...]) -> None:
    heavy = ("kubernetes_asyncio", "sqlalchemy", "aiohttp")
    code = (
        "import sys\nfrom receiver.cli.main import main\n"
        f"sys.argv = ['stanch', *{list(words)!r}, '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Usage" in done.stdout
    assert (done.returncode, done.stderr.strip()) == (0, "")
