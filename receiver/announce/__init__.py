"""Telling people: one file for each kind of place, and the words they all use."""
