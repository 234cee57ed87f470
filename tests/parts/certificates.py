"""Certificates for loopback, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from real_process import find_binary


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for loopback, and its key."""
    openssl = find_binary("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: run `make deps`")
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        str(openssl),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key
