"""What is counted while the service runs; the metrics page reads it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counters:
    """Plain numbers since start; nothing decides by them."""

    deliveries_kept: int = 0
    deliveries_refused: int = 0
    unauthenticated: int = 0
    refused_callers: Counter[str] = field(default_factory=Counter)
    alerts_joined: int = 0
    dead_letters: int = 0
    truncated_alerts: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    objections: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    fenced: int = 0
    reconciled: Counter[str] = field(default_factory=Counter)
    policy_reloads: Counter[str] = field(default_factory=Counter)
    spans: Counter[str] = field(default_factory=Counter)
