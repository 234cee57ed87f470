"""Imported where failing services are forked from: everything they use, and what its first use builds."""

import asyncpg  # noqa: F401
import failing_service  # noqa: F401

import receiver.cli.logs
import receiver.pipeline.watch
import receiver.terminal.screen  # noqa: F401
from receiver.app import read_policies

# Builds the parsers of conditions and queries.
read_policies(None)
