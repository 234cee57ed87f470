"""Plays the tests of many files, one after another, and gathers what came of each."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from receiver.demo.kubernetes import ApiError
from receiver.domain.errors import StanchError
from receiver.policy.model import PolicySet
from receiver.trials.policy_test.checking import Mismatch
from receiver.trials.policy_test.evaluating import PromQL, missing_programs
from receiver.trials.policy_test.folder import Opened
from receiver.trials.policy_test.model import PolicyTest
from receiver.trials.policy_test.playing import Played, play
from receiver.trials.policy_test.stage import Stages, stages

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Result:
    """One test that was played, over which policies, and how long it took."""

    file: str
    policies: PolicySet
    played: Played
    seconds: float

    @property
    def test(self) -> PolicyTest:
        """The test."""
        return self.played.test


def chosen(opened: Iterable[Opened], pattern: str | None) -> list[tuple[Opened, PolicyTest]]:
    """The tests whose names match."""
    wanted = re.compile(pattern or "")
    return [(file, test) for file in opened for test in file.tests.tests if wanted.search(test.name)]


async def run(
    tests: Iterable[tuple[Opened, PolicyTest]],
    *,
    promql: PromQL = PromQL.BUILTIN,
    told: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Play these tests; ``told`` hears of each as soon as it is over.

    One that needs a real Prometheus is skipped where there is none.
    """
    results: list[Result] = []
    without = missing_programs() if promql is PromQL.PROMETHEUS else ""
    async with stages(promql) as made:
        for opened, test in tests:
            assert opened.policies is not None
            began = time.perf_counter()
            if test.input_series and without:
                played = Played(test, skipped=without)
            else:
                played = await _played(test, opened.policies, made)
            result = Result(opened.tests.file, opened.policies, played, time.perf_counter() - began)
            results.append(result)
            told(result)
    return results


async def _played(test: PolicyTest, policies: PolicySet, made: Stages) -> Played:
    """What came of it; a test that cannot be played has failed, and the next one is played all the same."""
    try:
        return await play(test, policies, made)
    except (StanchError, ApiError) as error:
        why = str(error)
    except Exception as error:
        log.exception("a policy test broke", event_code="policy_test_broke", test=test.name)
        why = f"{type(error).__name__}: {error}"
    return Played(test, [Mismatch(test.spot, "test", "it can be played", why)])
