"""The demo world: a small cluster, its Prometheus and its Alertmanager, all speaking real HTTP on loopback.

The tests live in it too. The service that runs in it is the real one, with the shipped policies.
"""
