"""`stanch policy replay`: past deliveries through two sets of policies, nothing written.

Deliveries become news, news moves each set's incidents by the pipeline's own decisions, and pairs of
incidents are compared.
"""
