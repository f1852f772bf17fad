"""Certificates for servers of tests: each is its own authority."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

from tests.conftest import missing_part


def self_signed(path: Path, name: str) -> Path:
    """Write a certificate for a host of this name alone to ``path``, with its key; return it."""
    if shutil.which("openssl") is None:
        missing_part("the openssl command is not installed")
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} "
        f"-addext subjectAltName=DNS:{name} -keyout {path}.key -out {path}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.key").read_bytes())
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    """Return what a server shows the certificate with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def trusting(*certificates: Path) -> ssl.SSLContext:
    """Return what trusts these certificates alone."""
    context = ssl.create_default_context(cafile=certificates[0])
    for certificate in certificates[1:]:
        context.load_verify_locations(certificate)
    return context
