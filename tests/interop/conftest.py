"""What the interop tests are run with: versions, identities, files for programs that read files."""

import socket
from pathlib import Path

import pytest

from tests.support.pki import Identity, IdentityFiles, Named


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    """A protocol version."""
    return str(request.param)


@pytest.fixture(params=["rsa", "ec"])
def identity(request: pytest.FixtureRequest, pki: Named) -> Identity:
    """A server's identity, for localhost: RSA and P-256."""
    return pki.server if request.param == "rsa" else pki.server_ec


@pytest.fixture
def ca_file(pki: Named, tmp_path: Path) -> Path:
    """The root of the everyday identities, as a file."""
    path = tmp_path / "ca.pem"
    path.write_bytes(pki.ca.cert_pem)
    return path


@pytest.fixture
def client_files(pki: Named, tmp_path: Path) -> IdentityFiles:
    """The client certificate, as files."""
    return pki.client.write(tmp_path)


@pytest.fixture
def stranger_files(pki: Named, tmp_path: Path) -> IdentityFiles:
    """A client certificate of an authority that the servers do not trust, as files."""
    return pki.leaf_a.write(tmp_path)


@pytest.fixture
def ipv6() -> str:
    """The loopback address of IPv6; skips the test where there is none."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on loopback")
    return "::1"
