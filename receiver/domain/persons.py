"""What tells people apart."""

from __future__ import annotations


def person_of(name: str, uid: str) -> str:
    """The same for one account under two names; ``uid`` is theirs for good, empty where nobody tells one."""
    return f"uid {uid}" if uid else name
