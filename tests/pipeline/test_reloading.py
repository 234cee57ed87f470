"""Policy files are followed: a good set goes live as a whole, a broken one changes nothing and is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from harness import Harness, harness

from receiver import packaged
from receiver.announce.messages import policies_refused
from receiver.domain.errors import PermanentError
from receiver.pipeline.reloading import Reloading
from receiver.pipeline.telling import deliver
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from receiver.store.engine import Store
from remediations.registry import catalogue

GOOD = {Path(path).name: text for path, text in packaged.read_files(packaged.policies()).items()}
NAME = "inc-001-high-error-rate.yaml"
OTHER = {**GOOD, NAME: GOOD[NAME].replace("mode: propose", "mode: shadow")}
BROKEN = {**GOOD, NAME: GOOD[NAME].replace("mode: propose", "mode: proposed")}
COMMENT = {**GOOD, NAME: GOOD[NAME] + "# no rule says anything new\n"}


class Folder:
    """Files that a test changes; None cannot be read."""

    def __init__(self, texts: Mapping[str, str] | None) -> None:
        self.texts = texts

    def read(self) -> Mapping[str, str]:
        if self.texts is None:
            raise PermanentError("policies: the folder is gone")
        return self.texts


def following(h: Harness, folder: Folder) -> Reloading:
    return Reloading(
        h.world,
        h.counters,
        texts=folder.read,
        load=lambda texts: load(texts, catalogue=catalogue(), probe_facts=FACTS),
        on_taken=h.worker.wake,
    )


async def told(h: Harness) -> list[str]:
    while await deliver(h.world, h.counters):
        pass
    return [str(body["kind"]) for body in h.told.bodies]


async def test_a_good_set_goes_live_as_a_whole(store: Store) -> None:
    async with harness(store) as h:
        folder = Folder(GOOD)
        reloading = following(h, folder)
        await reloading.look()
        first = h.world.loaded.policies
        folder.texts = OTHER
        await reloading.look()
        loaded = h.world.loaded
        assert loaded.policies.hash != first.hash
        assert (loaded.policies.policies[0].mode.value, loaded.since) == ("shadow", h.clock.now())
        assert h.counters.policy_reloads["taken"] == 2


async def test_a_comment_reloads_nothing(store: Store) -> None:
    async with harness(store) as h:
        folder = Folder(GOOD)
        reloading = following(h, folder)
        await reloading.look()
        first = h.world.loaded.policies
        folder.texts = COMMENT
        await reloading.look()
        assert h.world.loaded.policies is first


@pytest.mark.parametrize("bad", [BROKEN, None], ids=["broken", "unreadable"])
async def test_a_bad_set_leaves_the_last_good_one_and_is_said_once(
    store: Store, bad: Mapping[str, str] | None
) -> None:
    async with harness(store) as h:
        folder = Folder(GOOD)
        reloading = following(h, folder)
        await reloading.look()
        good = h.world.loaded.policies
        folder.texts = bad
        for _ in range(3):
            await reloading.look()
        assert h.world.loaded.policies is good
        refused = h.world.loaded.refused
        assert refused is not None and refused.why
        assert h.counters.policy_reloads["refused"] == 1
        assert await told(h) == ["PoliciesRefused"]


async def test_files_that_can_be_read_again_are_in_force_again_though_they_are_the_same(store: Store) -> None:
    async with harness(store) as h:
        folder = Folder(GOOD)
        reloading = following(h, folder)
        await reloading.look()
        folder.texts = None
        await reloading.look()
        assert h.world.loaded.refused is not None
        folder.texts = GOOD
        await reloading.look()
        assert h.world.loaded.refused is None


async def test_many_broken_edits_are_one_message_until_they_are_good_again(store: Store) -> None:
    async with harness(store) as h:
        folder = Folder(GOOD)
        reloading = following(h, folder)
        await reloading.look()
        for number in range(3):
            folder.texts = {**BROKEN, NAME: BROKEN[NAME] + f"broken{number}: yes\n"}
            await reloading.look()
        assert await told(h) == ["PoliciesRefused"]
        folder.texts = GOOD
        await reloading.look()
        assert h.world.loaded.refused is None
        await h.clock.advance(h.world.timing.poll)
        folder.texts = BROKEN
        await reloading.look()
        assert await told(h) == ["PoliciesRefused", "PoliciesRefused"]


def test_the_message_says_the_first_complaint_and_how_many_more() -> None:
    body = policies_refused(["a.yaml:1:2: error: one\n  excerpt", "b.yaml:3:4: error: two"])
    assert str(body["text"]).endswith("a.yaml:1:2: error: one (and 1 more)")


def test_a_config_map_is_read_through_the_link_that_is_swapped(tmp_path: Path) -> None:
    for name, text in (("..one", "a: 1"), ("..two", "a: 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "p.yaml").symlink_to("..data/p.yaml")
    assert packaged.read_files(tmp_path) == {str(tmp_path / "p.yaml"): "a: 1"}
    (tmp_path / "..tmp").symlink_to("..two")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert packaged.read_files(tmp_path) == {str(tmp_path / "p.yaml"): "a: 2"}
