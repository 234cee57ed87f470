"""libyaml and ruamel.yaml see the same tree, positions too; what libyaml may not judge is ruamel.yaml's."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.packaged import policies
from receiver.policy.document import Document, quickly, slowly

# Those below cluster/ are what kubectl prints; they hold empty values.
SHIPPED = sorted(path for path in Path(str(policies())).rglob("*.yaml") if path.parent.name != "cluster")
PIECES = st.sampled_from(
    [
        "a", "b", "0", "é", "💥", "{{ labels.x }}", "err > 0.2 || x", "- ", ": ", ":", "\n", "\n  ",
        "\n    ", "|\n", ">-\n", "'", '"', "\\", "\\n", "\\x41", "[", "]", "{", "}", ", ", ",", " # c",
        "#", "?", "? ", "-", "!", "&", "*", "%", "@", "`", "~", "null", "---", "...", "\t", " ", "=", "<<",
        "\r\n", "\x85", "\u2028", "012", "yes",
        "key: value", "key: [1, 2]", "key:\n  - x\n", ">2\n", "|+\n", "|2-\n",
    ]
)  # fmt: skip


def agree(text: str) -> bool:
    """Whether libyaml took the file; never otherwise than ruamel.yaml."""
    quick = quickly(text)
    if quick is None:
        return False
    slow = slowly(Document("", text))
    assert slow.complaints == []
    assert quick == slow.root
    return True


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_files_are_read_the_quick_way(path: Path) -> None:
    assert agree(path.read_text("utf-8"))


@given(st.lists(PIECES, max_size=25).map("".join))
@example("a: >-\n  b\n\n  c\n# end\nd: |\n  e\n")
@example("a: 'it''s'\nb: \"\\u00e9\\\n  c\"\n")
@example("{a: b, c: [d, e]}")
@example("a: {b: c\n  d}\n")
@example("key: \x85value")
def test_any_text_is_read_alike_or_left_to_the_slow_way(text: str) -> None:
    agree(text)


@given(st.text(max_size=60))
def test_text_of_any_kind_is_read_alike(text: str) -> None:
    agree(text)
