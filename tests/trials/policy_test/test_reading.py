"""A slip in a file of tests is complained about at its place: the broken spot stands between ⟦ and ⟧."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from receiver.trials.policy_test.folder import open_file

from .conftest import HEAD, opened

GOOD = """\
  - name: a story
    clock: "2026-03-02T02:00:00Z"
    interval: 1m
    databases: {shop: {users: [a], usable: 9, sessions: [{user: a, state: idle, for: 1h, count: 2}]}}
    queries: {err: "0.35x100"}
    input_series: [{series: 'gl_errors_total{app="a"}', values: "0+1x10"}]
    afterWrite: {queries: {err: "0x10"}}
    alerts:
      - {at: 5m, until: 20m, labels: {alertname: A}, annotations: {summary: s}}
    deliver: {copies: 2, peers: 2}
    patch:
      - {at: 6m, object: Deployment/a/b, merge: {spec: {paused: true}}, by: bob}
    approve:
      - {at: 7m, by: carol, groups: [sre], reason: why}
    expect:
      - {at: 8m, severity: P1, proposed: deployment.rollback}
"""
POLICY = """\
apiVersion: stanch/v1
kind: Policy
metadata: {name: p}
spec:
  mode: shadow
  match: {alerts: [alertname=A, namespace=shop]}
  target: {kind: Deployment, namespace: shop, name: api}
  queries:
    err: >-
      QUERY
  classify: {P1: {expr: err > 0.2}}
  verify: {success: {expr: err < 0.1, for: 5m}}
"""
STORY = """\
apiVersion: stanch/v1
kind: PolicyTest
policies: [policy.yaml]
tests:
  - name: a story
    input_series: [{series: SERIES, values: "1x10"}]
    expect: [{at: 1m, incidents: 0}]
"""
# id in words: (what is replaced in the good file, by what, and a part of what is said about it)
MISTAKES: dict[str, tuple[str, str, str]] = {
    "another apiVersion": ("stanch/v1", "⟦stanch/v2⟧", "apiVersion 'stanch/v2' is not known"),
    "a name that stands twice": (
        "  - name: a story",
        "  - {name: a story, expect: [{at: 1m, incidents: 0}]}\n  - name: ⟦a story⟧",
        "a test of that name stands on line 11",
    ),
    "an unknown key of a test": (
        "    interval:",
        "    ⟦intervall⟧:",
        'unknown field "intervall" in tests[0]',
    ),
    "an unknown key of the file": ("defaults:", "⟦default⟧:", 'unknown field "default" in the file'),
    "an unknown default": ("defaults:\n  clock", "defaults:\n  ⟦clok⟧", 'unknown field "clok" in defaults'),
    "no name": ("- name: a story\n    clock", "- ⟦clock", 'field "name" is missing in tests[0]'),
    "a clock without a zone": ('clock: "2026-03-02T02:00:00Z"', 'clock: ⟦"2026-03-02"⟧', "is no time"),
    "an interval of nothing": ("interval: 1m", "interval: ⟦0s⟧", "at least"),
    "a query that no policy has": ('{err: "0.35', '{⟦eror⟧: "0.35', 'no policy has a query "eror"'),
    "a series that no query reads": (
        "'gl_errors_total{",
        "⟦'gl_eror_total{",
        "no query of the policies reads gl_eror_total",
    ),
    "values that are none": ('"0.35x100"', '"0.35x100 ⟦twelve⟧"', "'twelve' is no series of values"),
    "values that are a number": ('err: "0.35x100"', "err: ⟦7⟧", "queries.err must be text"),
    "an unknown key after a write": (
        "afterWrite: {queries",
        "afterWrite: {⟦querys⟧",
        'unknown field "querys"',
    ),
    "a database without its users": (
        "{users: [a], usable",
        "{⟦user⟧: [a], usable",
        'unknown field "user" in databases.shop',
    ),
    "a session that does what none does": ("state: idle", "state: ⟦idel⟧", "no session is 'idel'"),
    "a session without an age": (
        "[{user: a, state: idle, for: 1h,",
        "[⟦{user: a, state: idle,",
        'field "for" is missing',
    ),
    "an alert without labels": ("labels: {alertname: A}", "⟦labels⟧: {}", "an alert without labels is none"),
    "an alert without a time": ("- {at: 5m, until: 20m,", "- ⟦{until: 20m,", 'field "at" is missing'),
    "an alert that ends before": ("until: 20m", "⟦until⟧: 4m", "it ends before it begins"),
    "a label that is a number": ("{alertname: A}", "{alertname: ⟦5⟧}", "labels.alertname must be text"),
    "no copies": ("copies: 2", "copies: ⟦0⟧", "it must be 1 to 1000"),
    "a time without a unit": ("- {at: 8m", "- {at: ⟦8⟧", "has no unit"),
    "an object without a namespace": ("Deployment/a/b", "⟦Deployment/b⟧", "names no object"),
    "an object of no kind we have": (
        "Deployment/a/b",
        "⟦Deploymnt/a/b⟧",
        "the small cluster has no Deploymnt",
    ),
    "a merge that is text": ("merge: {spec: {paused: true}}", "merge: ⟦paused⟧", "merge must be a mapping"),
    "an answer of nobody": ("- {at: 7m, by: carol,", "- ⟦{at: 7m,", 'field "by" is missing'),
    "a severity that is none": ("severity: P1", "severity: ⟦P9⟧", "'P9' is not known"),
    "a remediation that is none": ("proposed: deployment.rollback", "proposed: ⟦rollback⟧", "there is no"),
    "an expectation of nothing": (
        "{at: 8m, severity: P1, proposed: deployment.rollback}",
        "⟦{at: 8m}",
        "this expects nothing",
    ),
    "an empty text": ("severity: P1", 'told: ⟦""⟧', "it would always be so"),
    "a word for two things": ("severity: P1", "⟦objections⟧: x", 'write "rejected"'),
    "no expectation": (
        "    expect:\n      - {at: 8m, severity: P1, proposed: deployment.rollback}\n",
        "",
        'field "expect" is missing in tests[0]',
    ),
    "a kind that is misspelt": ("kind: PolicyTest", "kind: ⟦PolicyTests⟧", "this is no file of tests"),
    "no kind": ("kind: PolicyTest\n", "", 'field "kind" is missing in the file'),
    "objects in place of a file": (
        "    interval: 1m\n",
        "    interval: 1m\n    cluster: [⟦{kind: Deployment}⟧]\n",
        "cluster names a file, these are objects",
    ),
    "a cluster file that is missing": ("two-releases.yaml", "nowhere.yaml", "nowhere.yaml: No such file"),
    "a policy file that is missing": ("limits.yaml", "limitz.yaml", "limitz.yaml: No such file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_slip_has_its_place(tmp_path: Path, mistake: str) -> None:
    old, new, said = MISTAKES[mistake]
    whole = HEAD + GOOD
    place = whole.rfind(old)
    marked = whole[:place] + new + whole[place + len(old) :]
    assert place >= 0
    path = tmp_path / "story.yaml"
    path.write_text(re.sub("[⟦⟧]", "", marked))
    found = [one for one in open_file(path).complaints if said in one.message]
    assert found, [str(one) for one in open_file(path).complaints]
    if "⟦" in marked:
        before = marked.split("⟦")[0]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        assert (found[0].line, found[0].column) == (line, column)


def test_the_good_file_is_good(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    path.write_text(HEAD + GOOD)
    (test,) = opened(path).tests.tests
    assert (test.name, len(test.alerts), len(test.answers), test.delivery.peers) == ("a story", 1, 1, 2)


def test_what_is_wrong_with_a_default_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    twice = GOOD + GOOD.replace("a story", "another")
    path.write_text(HEAD.replace('"20x300"', '"twenty"') + twice)
    (complaint,) = open_file(path).complaints
    assert complaint.message == "'twenty' is no series of values"


@pytest.mark.parametrize(
    ("query", "series", "hint"),
    [
        ("max(errors)", "eror", 'did you mean "errors"?'),
        ("max(errors)", "traffic", "they read: errors"),
        ('max({__name__=~"err.*"})', "traffic", None),
        ('max({__name__="errors"}) + vector(1)', "errors", None),
    ],
    ids=["the nearest is named", "all are named", "a query may read any metric", "a name may be a matcher"],
)
def test_a_series_must_be_one_that_a_query_reads(
    tmp_path: Path, query: str, series: str, hint: str | None
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.replace("QUERY", query))
    path = tmp_path / "story.yaml"
    path.write_text(STORY.replace("SERIES", series))
    assert [one.hint for one in open_file(path).complaints] == ([] if hint is None else [hint])
