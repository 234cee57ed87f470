"""How names are written that a person gives: those of Kubernetes, so that one rule holds for all."""

from __future__ import annotations

import re

# RFC 1123; what a namespace may be called, a connection in the databases file, an outside endpoint.
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DNS_LABEL_IS = "small letters, digits and - only"
