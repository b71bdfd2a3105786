"""Diffie-Hellman over finite fields with other programs: the group we give, and the group we get."""

import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

import aiotls
from tests.conftest import Run
from tests.support.peers import (
    Peer,
    gnutls_client,
    gnutls_handshake,
    gnutls_server,
    needs,
    openssl_client,
    openssl_handshake,
    openssl_server,
)
from tests.support.pki import Identity, Named, new_rsa_key
from tests.support.servers import echo, port_of, serving
from tests.support.visits import credentials
from tests.test_dhparam import dh_group

DHE = "DHE-RSA-AES128-SHA256"
ECDHE = "ECDHE-RSA-AES128-SHA256"
BOTH = f"{DHE}:{ECDHE}"
GCM = "DHE-RSA-AES128-GCM-SHA256"


@pytest.fixture
def small_groups() -> Any:
    """A group of 1024 bits is one to be warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", aiotls.SecurityWarning)
        yield


# ---- we are the server


async def told_by_openssl(run_with: dict[str, Any], ciphers: str = f"{BOTH}:@SECLEVEL=1") -> tuple[str | None, str]:
    """The cipher and the temporary key of the server, as ``openssl s_client`` prints them."""
    async with (
        serving(echo, **run_with) as server,
        openssl_client("-cipher", ciphers, port=port_of(server)) as peer,
    ):
        peer.write(b"hello\n")
        await peer.saw(r"^hello$")
        key = await peer.saw(r"^(?:Server Temp Key|Peer Temp Key): (.*)$")
        return openssl_handshake(peer.text).cipher, key[1]


def server_of(identity: Identity, **options: Any) -> dict[str, Any]:
    return {**credentials(identity), "max_version": "TLSv1.2", "ciphers": BOTH, **options}


@needs("openssl")
@pytest.mark.parametrize("options", [{}, {"dhparam": None}], ids=["absent", "None"])
def test_ciph_06_off(run: Run, pki: Named, options: dict[str, Any]) -> None:
    """CIPH-06: off unless asked for: the client gets ECDHE, although both sides prefer DHE."""

    async def main() -> None:
        cipher, key = await told_by_openssl(server_of(pki.server, **options))
        assert cipher == ECDHE
        assert key.startswith(("ECDH", "X25519"))

    run(main)


@needs("openssl")
@pytest.mark.parametrize("bits", [2048, 3072])
def test_ciph_06_auto(run: Run, pki: Named, bits: int) -> None:
    """CIPH-06: "auto" is as large as the RSA key."""
    identity = pki.server if bits == 2048 else pki.ca.issue(["localhost"], key=new_rsa_key(bits))

    async def main() -> None:
        assert await told_by_openssl(server_of(identity, dhparam="auto")) == (DHE, f"DH, {bits} bits")

    run(main)


@needs("openssl")
@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize(("bits", "level"), [(1024, 1), (2048, 1), (2048, 2), (3072, 2)])
def test_ciph_06_groups(run: Run, pki: Named, bits: int, level: int) -> None:
    """CIPH-06: a group of our own, of each size and at each level that takes it."""

    async def main() -> None:
        options = server_of(pki.server, dhparam=dh_group(bits), ciphers=f"{BOTH}:@SECLEVEL={level}")
        assert await told_by_openssl(options) == (DHE, f"DH, {bits} bits")

    run(main)


@needs("openssl")
def test_a_file_of_openssl(run: Run, pki: Named, tmp_path: Path) -> None:
    """What ``openssl dhparam`` writes is taken as it is, text in front of it included."""
    path = tmp_path / "dh.pem"
    command = ["openssl", "dhparam", "-text", "-out", str(path)]
    subprocess.run(command, input=dh_group(2048), capture_output=True, timeout=10, check=True)
    assert b"DH Parameters" in path.read_bytes()

    async def main() -> None:
        for shape in (path, path.read_bytes(), path.read_text()):
            assert await told_by_openssl(server_of(pki.server, dhparam=shape)) == (DHE, "DH, 2048 bits")

    run(main)


@needs("openssl")
@pytest.mark.parametrize("group", ["ffdhe2048", "ffdhe3072", "modp_2048"])
def test_named_groups_of_openssl(run: Run, pki: Named, group: str) -> None:
    """``openssl genpkey`` has the groups of the RFCs by their names."""
    command = ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", f"group:{group}"]
    pem = subprocess.run(command, capture_output=True, timeout=10, check=True).stdout
    bits = group[-4:]

    async def main() -> None:
        assert await told_by_openssl(server_of(pki.server, dhparam=pem)) == (DHE, f"DH, {bits} bits")

    run(main)


@needs("openssl")
def test_a_client_that_wants_more(run: Run, pki: Named) -> None:
    """A client at security level 3 refuses a group of 2048 bits; the server is told by its alert."""

    async def main() -> None:
        errors: list[Any] = []
        identity = pki.ca.issue(["localhost"], key=new_rsa_key(3072))
        async with serving(echo, **server_of(identity, dhparam=dh_group(2048), ciphers=DHE)) as server:
            server.on("tls_client_error", lambda error, _: errors.append(error))
            async with openssl_client("-cipher", f"{DHE}:@SECLEVEL=3", port=port_of(server)) as peer:
                ended = await peer.finished()
                assert "dh key too small" in ended.text
        assert [type(error) for error in errors] == [aiotls.AlertReceived]

    run(main)


GNUTLS = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+DHE-RSA:-GROUP-ALL"


@needs("gnutls-cli")
@pytest.mark.parametrize("bits", [2048, 3072])
def test_gnutls(run: Run, pki: Named, tmp_path: Path, bits: int) -> None:
    """``gnutls-cli`` takes the group and says how large it is."""
    (tmp_path / "ca.pem").write_bytes(pki.ca.cert_pem)

    async def main() -> None:
        arguments = ("--x509cafile", tmp_path / "ca.pem", "--priority", GNUTLS)
        options = server_of(pki.server, dhparam=dh_group(bits), ciphers=GCM)
        async with (
            serving(echo, **options) as server,
            gnutls_client(*arguments, port=port_of(server)) as peer,
        ):
            await peer.saw(r"^- Description:.*\((?:DHE|FFDHE)")
            await assert_echoes(peer)
            assert gnutls_handshake(peer.text).protocol == "TLSv1.2"
            size = await peer.saw(r"Using prime: (\d+) bits|\(DHE-(?:FFDHE|CUSTOM)(\d+)\)|\(FFDHE(\d+)\)")
            assert str(bits) in size.groups()

    run(main)


# ---- we are the client


@pytest.fixture
def server_files(pki: Named, tmp_path: Path) -> tuple[str | Path, ...]:
    """The arguments of a server of ours that is not ours."""
    files = pki.server.write(tmp_path)
    return "-cert", files.chain, "-key", files.key


@needs("openssl")
@pytest.mark.parametrize(
    ("bits", "least", "level", "taken"),
    [
        (1024, 1024, 1, True),
        (1024, 2048, 1, False),
        (2048, 2048, 1, True),
        (2048, 2048, 2, True),
        (2048, 3072, 2, False),
        (3072, 3072, 2, True),
        (3072, None, 2, True),
    ],
)
def test_ciph_07_openssl(
    run: Run,
    pki: Named,
    tmp_path: Path,
    server_files: tuple[str | Path, ...],
    bits: int,
    least: int | None,
    level: int,
    taken: bool,
) -> None:
    """CIPH-07: ``openssl s_server`` with a group: an error below the limit, before anything is secure."""
    (tmp_path / "dh.pem").write_bytes(dh_group(bits))
    ciphers = f"{GCM}:@SECLEVEL={level}"

    async def main() -> None:
        arguments = (*server_files, "-dhparam", tmp_path / "dh.pem", "-tls1_2", "-cipher", ciphers)
        async with openssl_server(*arguments) as peer:
            wish = {} if least is None else {"min_dh_size": least}
            options: dict[str, Any] = {"ca": pki.ca.cert_pem, "ciphers": ciphers, "max_version": "TLSv1.2", **wish}
            client = aiotls.connect("localhost", peer.port, **options)
            events: list[str] = []
            for event in ("secure", "secure_connect"):
                client.on(event, lambda event=event: events.append(event))
            if taken:
                async with client:
                    key = client.get_ephemeral_key_info()
                    assert key
                    assert (key.type, key.size) == ("DH", bits)
                    client.write(b"hello\n")
                    await peer.saw(r"^hello$")
                return
            with pytest.raises(aiotls.WeakParametersError) as raised:
                await client
            assert raised.value.code == "ERR_TLS_DH_PARAM_SIZE"
            assert events == []
            await peer.saw(r"SSL alert number \d+")

    run(main)


@needs("openssl")
@pytest.mark.parametrize("ciphers", [f"{GCM}:@SECLEVEL=2", f"{GCM}"])
def test_small_groups_of_openssl(
    run: Run, pki: Named, tmp_path: Path, server_files: tuple[str | Path, ...], ciphers: str
) -> None:
    """badssl "dh1024": our own security level refuses it, whatever `min_dh_size` would allow."""
    (tmp_path / "dh.pem").write_bytes(dh_group(1024))

    async def main() -> None:
        theirs = ("-dhparam", tmp_path / "dh.pem", "-tls1_2", "-cipher", f"{GCM}:@SECLEVEL=0")
        async with openssl_server(*server_files, *theirs) as peer:
            options: dict[str, Any] = {"ca": pki.ca.cert_pem, "ciphers": ciphers, "max_version": "TLSv1.2"}
            with pytest.raises(aiotls.WeakParametersError):
                await aiotls.connect("localhost", peer.port, **options, min_dh_size=1)

    run(main)


@needs("gnutls-serv")
@pytest.mark.parametrize(("bits", "least"), [(2048, 2048), (2048, 3072), (3072, 3072)])
def test_ciph_07_gnutls(run: Run, pki: Named, tmp_path: Path, bits: int, least: int) -> None:
    """CIPH-07: the same with ``gnutls-serv``."""
    files = pki.server.write(tmp_path)
    (tmp_path / "dh.pem").write_bytes(dh_group(bits))
    arguments = ("--x509certfile", files.chain, "--x509keyfile", files.key, "--dhparams", tmp_path / "dh.pem")

    async def main() -> None:
        async with gnutls_server(*arguments, "--disable-client-cert", "--priority", GNUTLS) as peer:
            options: dict[str, Any] = {"ca": pki.ca.cert_pem, "ciphers": GCM, "max_version": "TLSv1.2"}
            client = aiotls.connect("localhost", peer.port, min_dh_size=least, **options)
            if bits < least:
                with pytest.raises(aiotls.WeakParametersError) as raised:
                    await client
                assert raised.value.code == "ERR_TLS_DH_PARAM_SIZE"
                return
            async with client:
                key = client.get_ephemeral_key_info()
                assert key
                assert (key.type, key.size) == ("DH", bits)
                client.write(b"hello\n")
                assert await client.readline() == b"hello\n"

    run(main)


async def assert_echoes(peer: Peer) -> None:
    peer.write(b"hello\n")
    await peer.saw(r"^hello$")
