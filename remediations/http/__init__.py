"""Cures by requests: to endpoints that the operators' file names."""
