"""The tests that ship: they pass, they reach every rule of the policies, and no slip in one passes them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from receiver.policy.document import read
from receiver.policy.loading import load
from receiver.policy.model import Policy, PolicySet
from receiver.probes.catalogue import FACTS
from receiver.trials.policy_test.coverage import covered
from receiver.trials.policy_test.folder import Opened
from receiver.trials.policy_test.folder import test_files as files_below
from receiver.trials.policy_test.playing import play
from receiver.trials.policy_test.reporting import as_text
from receiver.trials.policy_test.running import chosen, run
from receiver.trials.policy_test.stage import stages
from remediations.registry import catalogue

from .conftest import SHIPPED, opened
from .mutants import Mutant, mutants

POLICIES = sorted(SHIPPED.glob("inc-*.yaml"))
FILES = files_below([SHIPPED])
# A sample for everyday, one of each policy; `make long` takes all of them.
SEED = 20260302
# Which file probably tells of a slip in which section: tried first, so that most mutants die at once.
FIRST = {"queries": "queries", "classify": "severity", "verify": "verdict", "undo": "verdict", "": "verdict"}
# Of one that only finds attacks everything is words: there is nothing to slip in.
MEASURED = pytest.mark.parametrize(
    "policy", [path for path in POLICIES if "propose:" in path.read_text()], ids=lambda path: path.stem
)
EACH = pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)


@cache
def files() -> list[Opened]:
    return [opened(path) for path in FILES]


def scenario(policy: Path) -> str:
    """What the files of one scenario begin with: inc-001."""
    return policy.name[: len("inc-001")]


def own(policy: Path) -> list[Opened]:
    """The tests of its scenario; where two policies share one, those of each that begin with its name."""
    found = {Path(file.tests.file).name: file for file in files()}
    mine = [name for name in found if name.startswith(scenario(policy))]
    others = tuple(
        other.stem for other in POLICIES if other != policy and scenario(other) == scenario(policy)
    )
    if others:
        named = [name for name in mine if name.startswith(policy.stem)]
        mine = named or [name for name in mine if not name.startswith(others)]
    return [found[name] for name in mine]


@EACH
def test_a_part_of_its_tests_passes(policy: Path) -> None:
    results = asyncio.run(run(chosen(own(policy), None)[::6]))
    failed = [result for result in results if not result.played.passed]
    assert results and not failed, "\n".join(as_text(failed))


@pytest.mark.long
@EACH
def test_its_tests_pass_and_reach_every_rule_of_it(policy: Path) -> None:
    results = asyncio.run(run(chosen(own(policy), None)))
    failed = [result for result in results if not result.played.passed]
    assert not failed, "\n".join(as_text(failed))
    # One that only finds attacks has nothing to measure, offer or verify.
    heals = "propose:" in policy.read_text()
    assert len(results) >= (15 if heals else 5)
    (read_in,) = (one for one in loaded(policy, policy.read_text()).policies if one.file == str(policy))
    document = read(str(policy), policy.read_text())
    found = covered(read_in, document, catalogue(), [result.played.seen for result in results])
    assert found.never == ()
    assert found.rules >= (10 if heals else 2)


def test_every_test_is_about_a_policy_that_ships() -> None:
    assert sorted(file.tests.file for policy in POLICIES for file in own(policy)) == [
        file.tests.file for file in files()
    ]


def texts(policy: Path, text: str) -> dict[str, str]:
    return {**files()[0].texts, str(policy): text}


def loaded(policy: Path, text: str) -> PolicySet:
    found = load(texts(policy, text), catalogue=catalogue(), probe_facts=FACTS).policies
    assert found is not None
    return found


@cache
def living(policy: Path) -> list[Mutant]:
    """The mutants that load and say something else; the rest is caught by `policy check`, or is no change."""
    whole = loaded(policy, policy.read_text())
    found = []
    for mutant in mutants(str(policy), policy.read_text()):
        changed = load(texts(policy, mutant.text), catalogue=catalogue(), probe_facts=FACTS).policies
        if changed is not None and _meaning(changed) != _meaning(whole):
            found.append(mutant)
    return found


def _meaning(policies: PolicySet) -> PolicySet:
    return replace(policies, policies=tuple(_bare(policy) for policy in policies.policies), hash="")


def _bare(policy: Policy) -> Policy:
    if all(candidate.disabled for candidate in policy.candidates):
        # Nothing is ever done by it, so nothing done is ever judged: only what is well counts.
        verification = replace(policy.verification, success_for=timedelta(0), min_samples=0)
        return replace(policy, verification=verification, hash="")
    return replace(policy, hash="")


async def killed_by(policy: Path, mutant: Mutant) -> str | None:
    """The first test of the scenario that fails over this mutant."""
    policies = loaded(policy, mutant.text)
    first = FIRST.get(mutant.section.split(".")[0], "rollback")
    async with stages() as made:
        for _, test in chosen(sorted(own(policy), key=lambda file: first not in file.tests.file), None):
            if not (await play(test, policies, made)).passed:
                return test.name
    return None


@pytest.mark.long
def test_there_are_mutants_of_every_kind() -> None:
    found = [mutant for policy in POLICIES for mutant in living(policy)]
    names = " ".join(mutant.name for mutant in found)
    assert len(found) >= 300
    kinds = [
        "is half as long",
        "> is >=",
        "< is <=",
        "0.99 is 0.9801",
        "0.20 is 0.05",
        "from: without",
        "swapped",
    ]
    assert [kind for kind in kinds if kind not in names] == []


@MEASURED
def test_a_slip_in_the_policy_fails_some_test(policy: Path) -> None:
    mutant = random.Random(SEED).choice(living(policy))
    assert asyncio.run(killed_by(policy, mutant)) is not None, str(mutant)


@pytest.mark.long
@MEASURED
def test_no_slip_in_the_policy_passes_all_tests(policy: Path) -> None:
    alive = [str(one) for one in living(policy) if asyncio.run(killed_by(policy, one)) is None]
    assert alive == []
