"""The page on people names every verb and every way, and its manifests grant what it says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from receiver.policy.approval import KnownBy
from receiver.policy.rbac import allowed
from receiver.policy.rights import GROUP, RESOURCE, Verb
from receiver.settings import PREFIX, Settings

PAGE = (Path(__file__).parent.parent.parent / "docs" / "people.md").read_text(encoding="utf-8")


def test_every_verb_and_every_way_has_its_row() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.M)
    assert rows == [verb.value for verb in Verb]
    ways = re.findall(r"^\| (?:the |an |a )?([a-z ]+?) \| `STANCH", PAGE, re.M)
    assert ways == [way.value for way in KnownBy]
    named = {name.removeprefix(PREFIX).lower() for name in re.findall(rf"{PREFIX}[A-Z_]+", PAGE)}
    assert named <= set(Settings.model_fields)


def test_the_manifests_grant_what_the_page_says() -> None:
    block = re.search(r"```yaml\n(apiVersion: rbac.*?)```", PAGE, re.S)
    assert block is not None
    roles = list(yaml.safe_load_all(block[1]))

    def may(verb: Verb, name: str, namespace: str) -> bool:
        return allowed(roles, group=GROUP, resource=RESOURCE, verb=verb, namespace=namespace, name=name)

    assert may(Verb.GET, "", "") and may(Verb.PAUSE, "INC-001", "")
    assert may(Verb.APPROVE, "deployment.scale", "greenlang")
    assert may(Verb.APPROVE_DISRUPTIVE, "deployment.rollback", "greenlang")
    assert not may(Verb.APPROVE_DISRUPTIVE, "pod.evict", "greenlang")
    assert not may(Verb.APPROVE, "deployment.scale", "kube-system")
    assert not may(Verb.APPROVE_SECURITY, "", "")
