"""The reference of every key of a policy file, and of what it may name, as a Markdown page."""

from __future__ import annotations

import json
from collections.abc import Iterator

from receiver.policy.conditions import FUNCTIONS, MACROS, METHODS
from receiver.policy.grammar import KINDS, METADATA, PURPOSE, Beside, Key, tables
from receiver.policy.vocabulary import Vocabulary, facts_of, parameters_of

HEAD = """# Every key of a policy file

Made by `stanch policy schema --format markdown`, from the same list as the editor's schema.

A file has `apiVersion: stanch/v1`, a `kind`, `metadata` and a `spec`. Durations are written `90s`, `5m`,
`1h30m`, `7d`. A key in **bold** must be there.

Behind the kinds of files stand [the probes](#probes), [the remediations](#remediations) and
[what conditions may say](#conditions).
"""
FLAT = "It has no `spec`: its keys stand at the top, beside `apiVersion` and `kind`."
PROBES = """## Probes

What `diagnose` may look with, and the facts that it finds. With `rollout: {probe: rollout-history}` a
condition says `rollout.paused`. A fact that could not be found out is unknown, and unknown is no.
"""
REMEDIATIONS = """## Remediations

What `propose` may name, and the parameters that stand in its `with`.
"""
CONDITIONS = """## Conditions

Conditions are [CEL](https://cel.dev). `classify` and `verify` know the queries by name, each one number;
`verify` also `baseline.x`, the highest value of the query x before the change. `when` of a candidate
knows the facts of the probes, the queries as they are now, and `labels`, those of the first alert that
fires; `when` of a hand-over knows the facts and `labels`, those of any alert that fires; `guard.rules` know
the queries, `labels` and `target`, the object as Kubernetes has it.

There are `&&`, `||`, `!`, `== != < <= > >=`, `in`, `+ - * / %`, `a ? b : c`, `a.b` and `a["b"]`, lists such
as `[1, 2]`, and the functions below. A decimal is computed with a decimal: `baseline.err * 2.0`, not `* 2`.
"""


def reference(vocabulary: Vocabulary, beside: tuple[Beside, ...] = ()) -> str:
    """The page."""
    parts = [HEAD]
    for kind, keys in KINDS.items():
        parts.append(f"## {kind}\n\n{PURPOSE[kind]}\n")
        if kind == "Policy":
            parts += _section("metadata", METADATA)
        if kind == "Defaults":
            # Its sections stand above already.
            parts += _section("spec", keys)
            continue
        for what, below in tables(keys, "spec"):
            parts += _section(what, below)
    for one in beside:
        parts.append(f"## {one.kind}\n\n{one.purpose} {FLAT}\n")
        shown: list[tuple[Key, ...]] = []
        for what, below in tables(one.keys, one.kind):
            # The same keys may stand in two places.
            if below not in shown:
                shown.append(below)
                parts += _section(what, below)
    return "\n".join([*parts, *_probes(vocabulary), *_remediations(vocabulary), *_conditions()])


def _probes(vocabulary: Vocabulary) -> Iterator[str]:
    yield PROBES
    for probe, facts in vocabulary.probe_facts.items():
        yield f"### `{probe}`\n"
        yield "| fact | value | such as |\n|---|---|---|"
        for fact in facts_of(facts):
            yield f"| `{fact.path}` | {fact.kind} | `{_cell(json.dumps(fact.sample))}` |"
        yield ""


def _remediations(vocabulary: Vocabulary) -> Iterator[str]:
    yield REMEDIATIONS
    for name, spec in vocabulary.catalogue.items():
        yield f"### `{name}`\n"
        yield f"{spec.sentence} Acts on: {', '.join(sorted(spec.target_kinds))}. Risk: {spec.risk}.\n"
        if parameters := parameters_of(spec):
            yield "| parameter | meaning |\n|---|---|"
            yield from (f"| `{one}` | {_cell(meaning)} |" for one, meaning in parameters.items())
        else:
            yield "It has no parameters."
        yield ""


def _conditions() -> Iterator[str]:
    yield CONDITIONS
    yield "| function | what it gives |\n|---|---|"
    for known in (FUNCTIONS, METHODS, MACROS):
        for told in known.values():
            example, meaning = told.split(": ", 1)
            yield f"| {_cell(example)} | {_cell(meaning)} |"
    yield ""


def _section(what: str, keys: tuple[Key, ...]) -> Iterator[str]:
    yield f"### `{what}`\n"
    yield "| key | value | meaning | default |\n|---|---|---|---|"
    for key in keys:
        called = f"_{key.name}_" if key.any_name else f"`{key.name}`"
        value = ", ".join(f"`{word}`" for word in key.words) or key.form.value
        shown = f"**{called}**" if key.needed else called
        yield f"| {shown} | {value} | {_cell(key.meaning)} | {_cell(key.default)} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
