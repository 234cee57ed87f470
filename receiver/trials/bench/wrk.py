"""Load from `wrk`, which takes less of the machine than any client of ours would."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from receiver.trials.bench.children import ChildError
from receiver.trials.bench.service import SENDER_TOKEN

CONNECTIONS = 64
MISSING = "wrk is not installed: run `make deps`, or put it on PATH"

# Every request is made before the clock runs; sending one is then a table look-up.
_SCRIPT = """
local requests, turn = {}, 0
init = function(args)
  local headers = {["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. args[2]}
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", "/api/v1/alerts", headers, line)
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency, requests)
  io.write(string.format(
    '\\n{"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50":%f,"p99":%f}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What came of one load; latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    accepted: int
    refused: int
    broken: int


def find_wrk() -> Path | None:
    """The program below .deps of this checkout or along PATH."""
    unpacked = Path(__file__).resolve().parents[3] / ".deps" / "bin" / "wrk"
    if os.access(unpacked, os.X_OK):
        return unpacked
    found = shutil.which("wrk")
    return None if found is None else Path(found)


async def load(wrk: Path, url: str, folder: Path, bodies: Sequence[bytes], *, seconds: float) -> Load:
    """Post these bodies in turn for so long, over 64 connections. Raises ChildError."""
    script, lines = folder / "load.lua", folder / "bodies.jsonl"
    script.write_text(_SCRIPT, encoding="utf-8")
    lines.write_bytes(b"\n".join(bodies) + b"\n")
    process = await asyncio.create_subprocess_exec(
        *(str(wrk), "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"),
        *("--latency", "-s", str(script), url, "--", str(lines), SENDER_TOKEN),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds + 60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode(errors="replace")
    found = next((line for line in said.splitlines() if line.startswith("{")), None)
    if found is None:
        raise ChildError(f"wrk did not report:\n{said[-1000:]}")
    told = json.loads(found)
    accepted = told["requests"] - told["refused"]
    return Load(
        per_second=accepted / (told["microseconds"] / 1e6),
        p50_ms=told["p50"] / 1000,
        p99_ms=told["p99"] / 1000,
        accepted=accepted,
        refused=told["refused"],
        broken=told["broken"],
    )
