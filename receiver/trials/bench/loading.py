"""How long five hundred policy files take to be read and checked, and read again after one edit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from receiver.packaged import read_files
from receiver.policy.loading import load
from receiver.probes.catalogue import FACTS
from receiver.trials.bench import patients
from receiver.trials.bench.service import Bench
from receiver.trials.bench.table import Row, median
from remediations.registry import catalogue

FILES = 500


async def loading(bench: Bench) -> list[Row]:
    """From texts to a checked set; the processor's time, since nothing is waited for."""
    raw: dict[str, list[Any]] = {"first": [], "again": []}
    for run in range(bench.runs):
        bench.say(f"loading {FILES} policies, run {run + 1} of {bench.runs}")
        files = _files(patients.write_policies(bench.fresh("loading")), run)
        raw["first"].append(_took(files))
        edited = {**files, "policy-000.yaml": files["policy-000.yaml"].replace("a young release", "an edit")}
        raw["again"].append(_took(edited))
    return [
        Row(f"{FILES} policies loaded and checked", median(raw["first"]), "s", 2, "lower", raw=raw),
        Row("  the same again after one edit", median(raw["again"]), "s", 2, "lower"),
    ]


def _files(folder: Path, run: int) -> dict[str, str]:
    """Five hundred policies of the shop, none of which was read before."""
    found = {Path(path).name: text for path, text in read_files(folder).items()}
    name = next(name for name, text in found.items() if "kind: Policy\n" in text)
    usual = found.pop(name)
    many = {f"policy-{number:03d}.yaml": _variant(usual, run, number) for number in range(FILES)}
    return {**found, **many}


def _variant(usual: str, run: int, number: int) -> str:
    text = usual.replace("{name: shop}", f"{{name: shop-{run}-{number}}}")
    text = text.replace('alertname="ShopErrors"', f'alertname="ShopErrors{number}"')
    return text.replace("err > 0.05", f"err > 0.0{50 + number % 40}")


def _took(files: dict[str, str]) -> float:
    began = time.process_time()
    found = load(files, catalogue=catalogue(), probe_facts=FACTS)
    took = time.process_time() - began
    if found.policies is None:
        raise AssertionError("; ".join(str(complaint) for complaint in found.errors[:3]))
    return took
