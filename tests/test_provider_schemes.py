"""Schemes of URIs that are names of OpenSSL's providers: a `key` that names one changes nothing in the process."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support import pkcs12
from tests.support.peers import needs
from tests.support.pki import Named
from tests.support.programs import printed

MODULES = [*Path("/usr").glob("lib*/**/ossl-modules/legacy.so")]
"""The legacy provider of this machine, with which RC2 can be read."""

PROGRAM = """
    import sys
    from pathlib import Path
    import aiotls

    pfx, cert = (Path(name) for name in sys.argv[1:3])

    def taken():
        try:
            aiotls.create_secure_context(pfx=pfx, passphrase="sample")
        except aiotls.OptionError as error:
            return error.code
        return "taken"

    before = taken()
    for scheme in sys.argv[3:]:
        for options in ({"key": f"{scheme}:x", "cert": cert}, {"cert": f"{scheme}:x"}, {"key": f"{scheme}://x/y"}):
            try:
                aiotls.create_secure_context(**options)
            except aiotls.OptionError as error:
                assert error.option.startswith(("key", "cert")), error
            else:
                assert not "it was taken"
    print(before, taken())
"""

CONFIGURATION = """
    openssl_conf = openssl
    [openssl]
    providers = providers
    [providers]
    default = on
    legacy = on
    [on]
    activate = 1
"""


@needs("openssl")
@pytest.mark.skipif(not MODULES, reason="there is no legacy provider")
@pytest.mark.parametrize("way", ["scheme", "configuration"])
def test_the_legacy_provider(pki: Named, tmp_path: Path, way: str) -> None:
    """KEYS-03: RC2-40 stays refused, whatever was tried before; only the configuration of OpenSSL changes that."""
    (tmp_path / "old.p12").write_bytes(pkcs12.by_openssl(pki.server_ec, b"sample", *pkcs12.RC2))
    (tmp_path / "cert.pem").write_bytes(pki.server_ec.chain_pem)
    choices: dict[str, Any] = {"OPENSSL_MODULES": MODULES[0].parent}
    if way == "configuration":
        (tmp_path / "openssl.cnf").write_text(textwrap.dedent(CONFIGURATION))
        choices["OPENSSL_CONF"] = tmp_path / "openssl.cnf"
    schemes = ("legacy", "LEGACY", "Legacy", "fips", "default", "base", "null", "https")
    said = printed(PROGRAM, tmp_path / "old.p12", tmp_path / "cert.pem", *schemes, **choices)
    code = "ERR_CRYPTO_UNSUPPORTED_OPERATION" if way == "scheme" else "taken"
    assert said == f"{code} {code}\n"
