"""The page about every remediation, made from what each declares, so that it cannot say anything else."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.domain.durations import in_words
from receiver.domain.plans import ApprovalDefault, Permission, Risk, Spec

HEAD = """# Remediations

Made by `stanch remediations list --output markdown`, from what each declares of itself. Whatever a
remediation does: it plans with the exact change, the API server tries the change out, people see it, the
guards are asked, it is written once, and the metrics say whether it helped. Nothing here is done by itself
on a fresh install.
"""
RISKS = {
    Risk.READ_ONLY: "read-only",
    Risk.REVERSIBLE: "reversible: what was written can be put back, and nothing is lost meanwhile",
    Risk.DISRUPTIVE: "disruptive: pods are replaced, and what they hold in memory is lost",
    Risk.BOUNDED_LOSS: "bounded loss: what is ended loses its unfinished work, and no more than that",
    Risk.IRREVERSIBLE: "irreversible: it cannot be put back",
}
APPROVALS = {
    ApprovalDefault.A0: "nobody, where the policy's mode is `auto`",
    ApprovalDefault.A1: "one person",
    ApprovalDefault.A2: "two different people",
    ApprovalDefault.AS: "the Security Lead",
    ApprovalDefault.H: "nobody can: a person does it",
}


def page(specs: Iterable[Spec]) -> str:
    """All of them, in their order, as Markdown."""
    return "\n".join([HEAD, *(section(spec) for spec in specs)])


def section(spec: Spec) -> str:
    """One remediation as Markdown."""
    about = spec.about.split("\n\n", 1)[-1].strip() if "\n\n" in spec.about else ""
    rows = [
        ("risk", RISKS[spec.risk]),
        ("who must say yes", f"{APPROVALS[spec.approval_default]}; a policy may ask for more"),
        ("acts on", ", ".join(sorted(spec.target_kinds))),
        ("undo", "the fields as they were, if what was written still stands" if spec.reversible else "none"),
        ("expires", "a policy must say when it is to be put back" if spec.mitigates else "not by itself"),
        ("in place within", in_words(spec.settle)),
        ("reads", ", ".join(_right(right) for right in spec.reads)),
        ("writes", ", ".join(_right(right) for right in spec.writes)),
    ]
    lines = [f"## {spec.name}", "", spec.sentence, ""]
    lines += [about, ""] if about else []
    lines += ["| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows), ""]
    lines += ["| parameter | default | meaning |", "|---|---|---|"]
    lines += [f"| {name} | {default} | {meaning} |" for name, default, meaning in parameters(spec)]
    lines += ["", "```yaml", spec.example.rstrip(), "```", ""]
    return "\n".join(lines)


def parameters(spec: Spec) -> Iterable[tuple[str, str, str]]:
    """Name, default and meaning of each parameter; the name of a needed one is bold."""
    for name, info in spec.parameters.model_fields.items():
        needed = info.is_required()
        default = "" if needed or info.default is None else f"`{info.get_default(call_default_factory=True)}`"
        yield f"**`{name}`**" if needed else f"`{name}`", default, info.description or ""


def _right(right: Permission) -> str:
    return f"{right} in all namespaces" if right.everywhere else str(right)
