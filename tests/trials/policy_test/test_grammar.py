"""The list of keys behind the editor's schema and the reference page is what the reader of tests asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from receiver.policy.fields import Fields
from receiver.policy.grammar import tables
from receiver.policy.json_schema import schema
from receiver.policy.reference import reference
from receiver.policy.vocabulary import Vocabulary
from receiver.probes.catalogue import FACTS
from receiver.trials.policy_test.folder import open_file
from receiver.trials.policy_test.folder import test_files as files_below
from receiver.trials.policy_test.grammar import POLICY_TEST
from remediations.registry import catalogue

from .conftest import SHIPPED

NAMES = Vocabulary(catalogue(), FACTS)
EVERY_KEY = f"""\
apiVersion: stanch/v1
kind: PolicyTest
metadata: {{name: anything}}
policies: [{SHIPPED / "inc-001-high-error-rate.yaml"}]
defaults:
  clock: "2026-03-02T02:00:00Z"
tests:
  - name: everything that can be said
    clock: "2026-03-02T02:00:00Z"
    interval: 1m
    cluster: [{SHIPPED / "tests" / "cluster" / "two-releases.yaml"}]
    databases:
      connection:
        users: [app]
        usable: 97
        away: 5m
        sessions: [{{user: app, application: api, state: idle, for: 10m, count: 3}}]
        slots: [{{name: gone, kept: 1000}}]
    endpoints: {{endpoint: {{kind: warmUp, status: 200}}}}
    queries: {{err: "0.35x10"}}
    input_series: [{{series: 'gl_errors_total{{app="a"}}', values: "1x10"}}]
    afterWrite: [{{queries: {{err: "0x10"}}}}]
    alerts: [{{at: 1m, until: 2m, labels: {{alertname: A}}, annotations: {{summary: s}}}}]
    deliver: {{copies: 1, peers: 1}}
    patch: [{{at: 1m, object: Deployment/a/b, merge: {{spec: {{paused: true}}}}, by: bob}}]
    approve: [{{at: 1m, by: carol, groups: [sre], reason: r, refused: t}}]
    deny: [{{at: 1m, by: carol, groups: [sre]}}]
    undo: [{{at: 1m, by: carol, groups: [sre]}}]
    keep: [{{at: 1m, by: carol, groups: [sre]}}]
    close: [{{at: 1m, by: carol, groups: [sre]}}]
    expect:
      - {{at: 1m, incident: 1, incidents: 1, severity: P1, because: x, status: resolved, proposed: nothing}}
      - {{at: 1m, noIncident: false, with: {{to: known-good}}, change: [x, z], risk: disruptive}}
      - {{at: 1m, rejected: x, refused: [z], verdict: improved, executed: [deployment.rollback]}}
      - {{at: 1m, executedCount: 0, undone: [], state: verified, paged: true, told: x}}
"""
# The author's own names, and a kind of value that the reader does not look into.
CHOSEN = {"databases", "endpoints", "queries", "labels", "annotations", "with", "merge", "metadata"}


def parsed(text: str) -> Any:
    return YAML(typ="safe").load(text)


def complaints(document: Any) -> list[str]:
    validator = Draft202012Validator(schema(NAMES, (POLICY_TEST,)))
    return [error.message for error in validator.iter_errors(document)]


def listed() -> Iterator[tuple[str, set[str]]]:
    for what, keys in tables(POLICY_TEST.keys, POLICY_TEST.kind):
        path = what.split(".")
        if path[-1] not in CHOSEN and not (path[1:2] == ["defaults"] and len(path) > 2):
            yield path[-1], {key.name for key in keys}


def test_the_reader_asks_for_exactly_the_listed_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "every.yaml"
    path.write_text(EVERY_KEY)
    asked: dict[str, set[str]] = {}
    real = Fields.known

    def known(self: Fields, names: Collection[str], **more: Any) -> Fields:
        if self.document.file == str(path):
            where = re.sub(r"\[\d+\]", "", self.what).split(".")[-1]
            asked.setdefault(where, set()).update(names)
        return real(self, names, **more)

    monkeypatch.setattr(Fields, "known", known)
    assert [str(one) for one in open_file(path).complaints] == []
    assert asked.pop("the file") - {"apiVersion", "kind"} == {key.name for key in POLICY_TEST.keys}
    assert asked == {where: names for where, names in listed() if where != POLICY_TEST.kind}


def test_a_file_with_every_key_and_the_shipped_tests_fit_the_schema() -> None:
    texts = {str(path): path.read_text() for path in files_below([SHIPPED])}
    found = {name: complaints(parsed(text)) for name, text in {**texts, "every key": EVERY_KEY}.items()}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    expect:", "    expct:"),
        ("executedCount: 0", "executedCount: -1"),
        ("severity: P1", "severity: P9"),
        ("interval: 1m", "interval: soon"),
        ("copies: 1", "copy: 1"),
        ("state: verified", "state: done"),
        ("tests:", "test:"),
    ],
    ids=lambda value: value.strip(),
)
def test_the_schema_finds_what_an_editor_should_underline(old: str, new: str) -> None:
    assert EVERY_KEY.count(old) == 1
    assert complaints(parsed(EVERY_KEY.replace(old, new))) != []


def test_the_reference_shows_every_key_of_tests() -> None:
    page = reference(NAMES, (POLICY_TEST,))
    assert "## PolicyTest" in page
    for _, keys in tables(POLICY_TEST.keys, POLICY_TEST.kind):
        for key in keys:
            assert f"`{key.name}`" in page or f"_{key.name}_" in page
