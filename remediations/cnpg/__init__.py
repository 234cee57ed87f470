"""Cures for databases of CloudNativePG: their Cluster is changed, and the operator does the rest."""
