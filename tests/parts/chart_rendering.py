"""Renders the chart with a real Helm, 3 or 4, and hands out what a cluster would be given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from chart_files import CHART
from real_process import need_binary

HELMS = ("helm3", "helm4")
CASES = tuple(sorted(path.stem for path in (CHART / "ci").glob("*.yaml")))
# Their kinds are the Prometheus operator's; no schema of Kubernetes knows them.
OF_THE_OPERATOR = ("ServiceMonitor", "PrometheusRule")
Document = dict[str, Any]


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A program of the test parts, of `make deps` or along PATH, with no cluster to reach."""
    binary = shutil.which(program, path=sysconfig.get_path("scripts")) or need_binary(program)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))},
        "KUBECONFIG": os.devnull,
    }
    return subprocess.run(
        [binary, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


def values_of(case: str) -> Path:
    """The values file of a case."""
    return CHART / "ci" / f"{case}.yaml"


@cache
def rendered_text(helm: str, case: str, *more: str, name: str = "stanch", namespace: str = "stanch") -> str:
    """What `helm template` prints; ``more`` are further arguments."""
    done = run(helm, "template", name, CHART, "-n", namespace, "-f", values_of(case), *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(
    case: str, *more: str, helm: str = HELMS[-1], name: str = "stanch", namespace: str = "stanch"
) -> list[Document]:
    """The same as documents."""
    text = rendered_text(helm, case, *more, name=name, namespace=namespace)
    return [document for document in yaml.safe_load_all(text) if document]


def refused(*arguments: str, case: str = "default") -> str:
    """Why both Helms, and lint as well, do not take these values."""
    sentences = set()
    for helm in HELMS:
        for command in (["template", "stanch"], ["lint"]):
            done = run(helm, *command, CHART, "-f", values_of(case), *arguments)
            assert done.returncode, f"{helm} {command[0]} took {arguments}"
            sentences.add(done.stderr + done.stdout)
    return "\n".join(sorted(sentences))


def notes(case: str, *more: str) -> str:
    """What Helm 4 says after an installation; Helm 3 asks a cluster before it says anything."""
    done = run(
        "helm4", "install", "stanch", CHART, "-n", "stanch", "-f", values_of(case), "--dry-run=client", *more
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    """Those of these kinds."""
    return [document for document in documents if document["kind"] in kinds]


def pod_of(documents: Sequence[Document]) -> Document:
    """The spec of the one Deployment's pods."""
    (deployment,) = of_kind(documents, "Deployment")
    spec: Document = deployment["spec"]["template"]["spec"]
    return spec


def environment_of(documents: Sequence[Document]) -> dict[str, Any]:
    """The variables of the one container: texts, or where a Secret says it, the reference."""
    (container,) = pod_of(documents)["containers"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
