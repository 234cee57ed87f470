"""A standing approval counts as long as its file is what a security lead signed, and no longer."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from receiver.cli.main import app
from receiver.clients.standing import StandingFile, checked, sign, signature_path
from receiver.domain.errors import PermanentError
from receiver.domain.isolation import Act
from receiver.domain.standing import Standing

TEXT = """\
apiVersion: stanch/v1
kind: StandingApproval
spec:
  by: lena
  acts: [pod.quarantine]
  scopes: [namespace/shop]
  signedAt: 2026-11-01T09:00:00Z
  validUntil: 2027-02-01T00:00:00Z
"""
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def private(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Desk:
    """Where a security lead keeps the file and the keys."""

    file: Path
    keys: Path

    def read(self) -> Standing | str:
        return StandingFile(self.file, self.keys).read_now()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A signed approval."""
    found = Desk(tmp_path / "standing.yaml", tmp_path / "keys")
    found.keys.mkdir()
    (found.keys / "lena.pem").write_bytes(public(KEY))
    found.file.write_text(TEXT)
    signature_path(found.file).write_bytes(sign(TEXT.encode(), private(KEY)))
    return found


def test_what_was_signed_is_read(desk: Desk) -> None:
    found = desk.read()
    assert isinstance(found, Standing)
    assert (found.by, found.acts, found.scopes) == (
        "lena",
        frozenset({Act.POD_QUARANTINE}),
        frozenset({"namespace/shop"}),
    )
    assert found.valid_until == datetime(2027, 2, 1, tzinfo=UTC)


def test_it_is_read_anew_each_time(desk: Desk) -> None:
    assert isinstance(desk.read(), Standing)
    desk.file.write_text(TEXT.replace("pod.quarantine", "node.isolate"))
    assert desk.read() == (
        "the standing approval is refused: it was edited, or none of those with a key signed it (lena)"
    )
    desk.file.unlink()
    assert desk.read() == (
        "the standing approval is refused: standing.yaml cannot be read: No such file or directory"
    )


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_no_byte_of_it_may_differ(place: int, by: int) -> None:
    content = bytearray(TEXT.encode())
    signature = sign(bytes(content), private(KEY))
    content[place] ^= by
    with pytest.raises(PermanentError):
        checked(bytes(content), signature, {"lena": public(KEY)})


def test_the_signature_of_another_key_counts_for_nothing(desk: Desk) -> None:
    signature_path(desk.file).write_bytes(sign(TEXT.encode(), private(OTHER)))
    assert "none of those with a key signed it" in str(desk.read())


def test_a_lead_who_has_no_key_signs_nothing(desk: Desk) -> None:
    text = TEXT.replace("lena", "mallory")
    desk.file.write_text(text)
    signature_path(desk.file).write_bytes(sign(text.encode(), private(KEY)))
    assert "it is by mallory, and lena signed it" in str(desk.read())


def test_a_name_leads_to_no_other_folder(desk: Desk) -> None:
    text = TEXT.replace("by: lena", "by: ../keys/lena")
    desk.file.write_text(text)
    signature_path(desk.file).write_bytes(sign(text.encode(), private(KEY)))
    assert "spec.by" in str(desk.read())


def test_without_a_signature_or_with_another_kind_of_key_it_is_refused(desk: Desk) -> None:
    rsa = generate_private_key(65537, 2048).public_key()
    (desk.keys / "lena.pem").write_bytes(rsa.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert "none of those with a key signed it" in str(desk.read())
    (desk.keys / "lena.pem").write_text("nonsense")
    assert "none of those with a key signed it" in str(desk.read())
    signature_path(desk.file).unlink()
    assert "standing.yaml.sig cannot be read" in str(desk.read())


@pytest.mark.parametrize(
    ("was", "is_now", "why"),
    [
        ("pod.quarantine", "pod.delete", "spec.acts.0"),
        ("[pod.quarantine]", "[]", "spec.acts"),
        ("[pod.quarantine]", "[pod.quarantine, ip.block]", "ip.block is by hand"),
        ("namespace/shop", "Deployment/shop/api", "spec.scopes.0"),
        ("2026-11-01T09:00:00Z", "2026-11-01", "spec.signedAt"),
        ("2027-02-01", "2029-02-01", "more than 366 days"),
        ("2027-02-01", "2027-13-41", "it is no YAML"),
        ("kind: StandingApproval", "kind: " + "[" * 30_000, "it is no YAML"),
        ("  by: lena", "  by: lena\n  and: more", "spec.and"),
        ("kind: StandingApproval", "kind: [", "it is no YAML"),
        ("kind: StandingApproval", "kind: Policy", "kind"),
        (TEXT, "[]", "file"),
        (TEXT, "x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_what_says_something_else_is_refused_by_the_place(
    desk: Desk, was: str, is_now: str, why: str
) -> None:
    text = TEXT.replace(was, is_now)
    desk.file.write_text(text)
    signature_path(desk.file).write_bytes(sign(text.encode(), private(KEY)))
    assert why in str(desk.read())


def test_what_nobody_signed_is_not_even_read_as_yaml(desk: Desk) -> None:
    levels = [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 26)]
    desk.file.write_text("\n".join(["a0: &a0 {x: 1}", *levels]))
    assert "none of those with a key signed it" in str(desk.read())


def test_a_pipe_is_no_file_and_nobody_waits_for_it(desk: Desk) -> None:
    desk.file.unlink()
    os.mkfifo(desk.file)
    assert "standing.yaml is no file" in str(desk.read())


def test_a_signature_that_openssl_made_counts(desk: Desk, tmp_path: Path) -> None:
    key = tmp_path / "lena.key"
    key.write_bytes(private(KEY))
    words = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(desk.file)]
    made = subprocess.run(words, capture_output=True, check=True).stdout
    encoded = subprocess.run(["base64"], input=made, capture_output=True, check=True).stdout
    signature_path(desk.file).write_bytes(encoded)
    assert isinstance(desk.read(), Standing)


def test_the_commands_sign_and_check_and_end_with_4_where_it_counts_for_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    key = tmp_path / "lena.key"
    key.write_bytes(private(KEY))
    now = datetime.now(UTC)
    dates = {"2026-11-01T09:00:00Z": now - timedelta(days=1), "2027-02-01T00:00:00Z": now + timedelta(days=9)}
    text = TEXT
    for was, moment in dates.items():
        text = text.replace(was, moment.isoformat(timespec="seconds"))
    desk.file.write_text(text)
    check = ["standing", "check", str(desk.file), "--keys", str(desk.keys)]
    assert CliRunner().invoke(app, check).exception.code == 4  # type: ignore[union-attr]
    signed = CliRunner().invoke(app, ["standing", "sign", str(desk.file), "--key", str(key)])
    assert signed.exit_code == 0 and "signed for lena" in signed.stdout
    told = CliRunner().invoke(app, check)
    assert told.exit_code == 0 and "lena allows pod.quarantine in namespace/shop" in told.stdout


def test_one_that_is_over_says_so(desk: Desk) -> None:
    found = desk.read()
    assert isinstance(found, Standing)
    assert found.not_now(found.valid_until) == "the standing approval of lena ended at 2027-02-01T00:00+00:00"
    assert found.not_now(found.signed_at - timedelta(seconds=1)) is not None
    assert found.not_now(found.signed_at) is None
