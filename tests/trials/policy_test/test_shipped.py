"""The tests that ship: they pass, they reach every rule of the policies, and no slip in one passes them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from receiver.policy.document import read
from receiver.policy.loading import load
from receiver.policy.model import PolicySet
from receiver.probes.catalogue import FACTS
from receiver.trials.policy_test.coverage import covered
from receiver.trials.policy_test.folder import Opened
from receiver.trials.policy_test.folder import test_files as files_below
from receiver.trials.policy_test.model import PolicyTest
from receiver.trials.policy_test.playing import play
from receiver.trials.policy_test.reporting import as_text
from receiver.trials.policy_test.running import Result, chosen, run
from receiver.trials.policy_test.stage import stages
from remediations.registry import catalogue

from .conftest import SHIPPED, opened
from .mutants import Mutant, mutants

POLICY = SHIPPED / "inc-001-high-error-rate.yaml"
FILES = files_below([SHIPPED])
# A sample for everyday; `make long` takes all of them.
SAMPLE, SEED = 6, 20260302
# Which file probably tells of a slip in which section: tried first, so that most mutants die at once.
FIRST = {"queries": "queries", "classify": "severity", "verify": "verdict", "undo": "verdict", "": "verdict"}


@cache
def files() -> list[Opened]:
    return [opened(path) for path in FILES]


@pytest.fixture(scope="module")
def results() -> list[Result]:
    """Every shipped test, played once."""
    return asyncio.run(run(chosen(files(), None)))


def test_every_shipped_test_passes(results: list[Result]) -> None:
    failed = [result for result in results if not result.played.passed]
    assert not failed, "\n".join(as_text(failed))
    assert len(results) >= 70


def test_they_reach_every_rule_of_every_policy(results: list[Result]) -> None:
    for policy in loaded(POLICY.read_text()).policies:
        document = read(policy.file, Path(policy.file).read_text())
        found = covered(policy, document, catalogue(), [result.played.seen for result in results])
        assert found.never == ()
        assert found.rules >= 15


def texts(of_policy: str) -> dict[str, str]:
    return {**files()[0].texts, str(POLICY): of_policy}


def loaded(of_policy: str) -> PolicySet:
    found = load(texts(of_policy), catalogue=catalogue(), probe_facts=FACTS).policies
    assert found is not None
    return found


@cache
def living() -> list[Mutant]:
    """The mutants that load and say something else; the rest is caught by `policy check`, or is no change."""
    whole = loaded(POLICY.read_text())
    found = []
    for mutant in mutants(str(POLICY), POLICY.read_text()):
        changed = load(texts(mutant.text), catalogue=catalogue(), probe_facts=FACTS).policies
        if changed is not None and _meaning(changed) != _meaning(whole):
            found.append(mutant)
    return found


def _meaning(policies: PolicySet) -> PolicySet:
    unhashed = tuple(replace(policy, hash="") for policy in policies.policies)
    return replace(policies, policies=unhashed, hash="")


async def killed_by(mutant: Mutant) -> str | None:
    """The first test that fails over this mutant."""
    policies = loaded(mutant.text)
    async with stages() as made:
        for _, test in _in_order(mutant):
            if not (await play(test, policies, made)).passed:
                return test.name
    return None


def _in_order(mutant: Mutant) -> Iterable[tuple[Opened, PolicyTest]]:
    first = FIRST.get(mutant.section.split(".")[0], "rollback")
    return chosen(sorted(files(), key=lambda file: first not in file.tests.file), None)


def test_there_are_mutants_of_every_kind() -> None:
    names = " ".join(mutant.name for mutant in living())
    assert len(living()) >= 65
    kinds = ["is half as long", "> is >=", "< is <=", "0.99 is 0.9801", "0.20 is 0.05", "from: without"]
    assert [kind for kind in kinds if kind not in names] == []


@pytest.mark.parametrize("number", range(SAMPLE))
def test_a_slip_in_the_policy_fails_some_test(number: int) -> None:
    mutant = random.Random(SEED).sample(living(), SAMPLE)[number]
    assert asyncio.run(killed_by(mutant)) is not None, str(mutant)


@pytest.mark.long
def test_no_slip_in_the_policy_passes_all_tests() -> None:
    alive = [str(mutant) for mutant in living() if asyncio.run(killed_by(mutant)) is None]
    assert alive == []
