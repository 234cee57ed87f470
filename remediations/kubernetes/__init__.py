"""Cures for workloads of a Kubernetes cluster."""
