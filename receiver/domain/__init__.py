"""The nouns of an incident and how they change: frozen, pure, without I/O and without a clock."""
