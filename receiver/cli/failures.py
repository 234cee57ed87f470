"""How a command ends other than well: one sentence and an exit code that scripts can rely on."""

from __future__ import annotations

from receiver.domain.errors import StanchError, TemporaryError, Unavailable

NOT_WELL = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4


class Failure(StanchError):
    """The sentence to print and the exit code to end with."""

    def __init__(self, sentence: str, *, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def exit_code(error: StanchError) -> int:
    """The exit code for any error of ours; the rest is about how this process is set up or called."""
    if isinstance(error, Failure):
        return error.code
    return UNREACHABLE if isinstance(error, TemporaryError | Unavailable) else USAGE
