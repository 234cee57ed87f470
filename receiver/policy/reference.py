"""The reference of every key of a policy file, as a Markdown page made from the grammar."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.policy.grammar import KINDS, METADATA, PURPOSE, Key, tables

HEAD = """# Every key of a policy file

Made by `stanch policy schema --format markdown`, from the same list as the editor's schema.

A file has `apiVersion: stanch/v1`, a `kind`, `metadata` and a `spec`. Durations are written `90s`, `5m`,
`1h30m`, `7d`. A key in **bold** must be there.
"""


def reference() -> str:
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
    return "\n".join(parts)


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
