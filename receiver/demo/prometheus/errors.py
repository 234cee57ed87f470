"""Why a query has no answer, in the words of Prometheus's API."""

from __future__ import annotations


class QueryError(Exception):
    """The query was understood and cannot be answered, such as an ambiguous match between two vectors."""

    error_type = "execution"
    status = 422


class BadDataError(QueryError):
    """A parameter or the expression's syntax is wrong."""

    error_type = "bad_data"
    status = 400


class UnsupportedError(QueryError):
    """Prometheus could answer this; the demo's small one cannot."""

    def __init__(self, what: str) -> None:
        super().__init__(f"unsupported by the demo Prometheus: {what}")
