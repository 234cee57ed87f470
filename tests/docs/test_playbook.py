"""The page about the playbook leaves no row out, and names nothing that is not there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from receiver.cli.main import app
from receiver.domain.isolation import BY_HAND
from receiver.packaged import policies, read_files
from receiver.policy.loading import load
from receiver.policy.model import Policy
from receiver.probes.catalogue import FACTS
from remediations.playbook import By, Row, page, read
from remediations.registry import catalogue

ROOT = Path(__file__).parent.parent.parent
ROWS = read((ROOT / "docs" / "playbook.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shipped() -> dict[str, list[Policy]]:
    """The policies by the number of their scenario."""
    loaded = load(read_files(policies()), catalogue=catalogue(), probe_facts=FACTS).policies
    assert loaded is not None
    found: dict[str, list[Policy]] = {}
    for policy in loaded.policies:
        found.setdefault(Path(policy.file).name[len("inc-") :][:3], []).append(policy)
    return found


def test_the_page_is_the_one_that_is_made() -> None:
    assert (ROOT / "docs" / "playbook.md").read_text(encoding="utf-8") == page(ROWS)


def test_every_row_of_the_playbook_is_on_it_in_its_order() -> None:
    lines = (ROOT / "tests" / "data" / "playbook-rows.txt").read_text(encoding="utf-8").splitlines()
    asked = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(asked) == 95
    assert [[row.row, row.asks] for row in ROWS] == asked


def commands() -> set[str]:
    """Every command by its words."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    found = set(root.commands)
    for name, group in root.commands.items():
        if isinstance(group, TyperGroup):
            found |= {f"{name} {verb}" for verb in group.commands}
    return found


def there(row: Row, policy: Policy) -> bool:
    """Whether what the row names is there, and in this policy of its scenario."""
    offered = {one.remediation for one in policy.candidates if not one.disabled}
    known: dict[By, Collection[str]] = {
        By.REMEDIATION: offered & catalogue().keys(),
        By.UNOFFERED: catalogue().keys() - offered,
        By.PROBE: {use.probe for use in policy.probes} & FACTS.keys(),
        By.HANDOVER: {entry.item for entry in policy.handover},
        By.QUERY: set(policy.queries),
        By.ISOLATION: BY_HAND | {wish.act for sign in policy.security for wish in sign.isolate},
        By.COMMAND: commands(),
    }
    return row.name in known[row.by]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.row)
def test_what_a_row_names_is_there(row: Row, shipped: dict[str, list[Policy]]) -> None:
    assert any(there(row, policy) for policy in shipped[row.scenario])
    if row.by is By.UNOFFERED:
        assert row.note.endswith(".")


def test_every_hand_over_and_remediation_stands_for_some_row(
    shipped: dict[str, list[Policy]],
) -> None:
    named = {(row.scenario, row.name) for row in ROWS}
    all_of_them = [(number, policy) for number, found in shipped.items() for policy in found]
    items = {(number, entry.item) for number, policy in all_of_them for entry in policy.handover}
    # These are of the playbook's text around the scenarios, and of the list of what is never done blindly;
    # and what an isolation stands for where pods see who asks is a person's elsewhere.
    besides = {
        "Tell customers, and decide about credits",
        "Grow the disk of a node by replacing the node",
        "Block the addresses that the attack comes from",
    }
    assert {item for _, item in items - named} == besides
    offered = {
        (number, one.remediation)
        for number, policy in all_of_them
        for one in policy.candidates
        if not one.disabled
    }
    # The agents' rollback is the playbook's "rollback to previous version" within row 004.1b.
    assert offered - named == {("004", "deployment.rollback")}
