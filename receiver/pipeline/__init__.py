"""The shell: one file for each step an incident takes. Gather, decide, apply."""
