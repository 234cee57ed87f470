"""Sets the process's logs up: one line a fact, JSON unless a terminal reads it, secrets never.

Ours and the libraries' go the same way, to standard error. A call passes a sentence and an ``event_code``;
the output has them as ``message`` and ``event``.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from receiver.domain.errors import PermanentError
from receiver.terminal.screen import clean

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS = ("auto", "json", "console")
HIDDEN = "***"
MAX_CHARACTERS = 20_000

_SECRET_NAME = re.compile(r"(?i)(^|_)(token|password|passwd|secret|authorization|cookie|credentials?)$")
# user:password in an address, and what follows an authentication scheme or a telling name.
_SECRETS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), f"{HIDDEN}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)\b(password|token|secret)(=|:\s?)[^\s,;&'\"]+"), rf"\1\2{HIDDEN}"),
)


def configure(*, level: str, form: str, stream: TextIO | None = None) -> None:
    """Logs from here on. Raises PermanentError for a level or format that does not exist."""
    problems = []
    if level.lower() not in LEVELS:
        problems.append(f"STANCH_LOG_LEVEL: {level!r} is none of {', '.join(LEVELS)}")
    if form not in FORMATS:
        problems.append(f"STANCH_LOG_FORMAT: {form!r} is none of {', '.join(FORMATS)}")
    if problems:
        raise PermanentError("\n".join(problems))
    to = stream or sys.stderr
    console = form == "console" or (form == "auto" and to.isatty())
    # The chain ends in the standard library's handler, where the libraries' records arrive as well.
    first: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        named,
        without_secrets,
        harmless if console else as_text,
        structlog.dev.ConsoleRenderer(colors=_coloured(to), event_key="message", pad_event_to=0)
        if console
        else structlog.processors.JSONRenderer(default=str),
    ]
    handler = logging.StreamHandler(to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[_library, *first], processors=last)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level.lower()])
    for chatty in ("aiohttp.access", "asyncio", "sqlalchemy", "kubernetes_asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, LEVELS[level.lower()]))
    structlog.configure(
        processors=[*first, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level.lower()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def named(logger: Any, method: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The sentence as ``message``, the machine's word as ``event``, and both in front."""
    sentence = fact.pop("event", "")
    code = fact.pop("event_code", None)
    return {"message": str(sentence), **({} if code is None else {"event": code}), **fact}


def without_secrets(logger: Any, method: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The fact with everything hidden that is, or looks like, a secret."""
    return {
        name: HIDDEN if _SECRET_NAME.search(str(name)) else _hidden(value) for name, value in fact.items()
    }


def as_text(logger: Any, method: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cut what is too long; JSON escapes the rest."""
    return {name: value[:MAX_CHARACTERS] if isinstance(value, str) else value for name, value in fact.items()}


def harmless(logger: Any, method: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nothing that a terminal could act on; only a traceback keeps its lines."""
    return {
        name: value
        if isinstance(value, bool | int | float | None)
        else clean(value, lines=name == "exception")[:MAX_CHARACTERS]
        for name, value in fact.items()
    }


def hide(text: str) -> str:
    """The text without credentials."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _hidden(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            str(name): HIDDEN if _SECRET_NAME.search(str(name)) else _hidden(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden(one) for one in value]
    return hide(str(value))


def _library(logger: Any, method: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    record = fact.get("_record")
    fact["event_code"] = "library"
    if isinstance(record, logging.LogRecord):
        fact["logger"] = record.name
    return fact


def _coloured(stream: TextIO) -> bool:
    import os

    return stream.isatty() and not os.environ.get("NO_COLOR")
