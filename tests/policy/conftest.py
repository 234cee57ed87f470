"""What most tests of the loader share: the good policy, a way to break it, and what it may refer to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.policy.loading import Loaded, load
from receiver.probes.catalogue import FACTS
from remediations.registry import catalogue

DATA = Path(__file__).resolve().parents[1] / "data" / "policies"

Loader = Callable[..., Loaded]


@pytest.fixture(scope="session")
def good() -> str:
    """A policy without a complaint."""
    return (DATA / "good.yaml").read_text()


@pytest.fixture(scope="session")
def loader() -> Loader:
    """Load texts as files, beside the approvers; a first unnamed text is ``policy.yaml``."""

    def run(policy: str | None = None, **files: str) -> Loaded:
        texts = {f"{name}.yaml": text for name, text in files.items()}
        if policy is not None:
            texts["policy.yaml"] = policy
        texts.setdefault("approvers.yaml", (DATA / "approvers.yaml").read_text())
        return load(texts, catalogue=catalogue(), probe_facts=FACTS)

    return run
