"""A scenario: what is wrong in the demo world, from a small data file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from receiver.domain.errors import NotFound

FOLDER = Path(__file__).parent / "scenarios"


class Release(BaseModel):
    """One release and how its pods do; ``error_ratio`` is between 0 and 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    error_ratio: float
    latency_seconds: float


class Scenario(BaseModel):
    """What happens; ``helps`` says whether putting the good release back ends the trouble."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sentence: str
    helps: bool
    # Whether somebody attacks meanwhile.
    attack: bool = False
    namespace: str
    app: str
    replicas: int
    requests_per_second: float
    good: Release
    bad: Release

    def manifest(self, release: Release) -> dict[str, Any]:
        """The Deployment with this release."""
        labels = {"app": self.app}
        container = {
            "name": "api",
            "image": release.image,
            "env": [{"name": "DB_POOL_SIZE", "value": "20"}],
            "resources": {
                "limits": {"cpu": "1", "memory": "1Gi"},
                "requests": {"cpu": "500m", "memory": "512Mi"},
            },
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.app, "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        }

    @property
    def service(self) -> dict[str, Any]:
        """What sends requests to its pods."""
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.app, "namespace": self.namespace},
            "spec": {"selector": {"app": self.app}, "ports": [{"port": 80}]},
        }


def names() -> list[str]:
    """The scenarios there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def scenario(name: str) -> Scenario:
    """The scenario of that name. Raises NotFound."""
    if name not in names():
        raise NotFound(f"there is no scenario {name!r}; there are: {', '.join(names())}")
    return Scenario.model_validate(
        YAML(typ="safe").load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    )
