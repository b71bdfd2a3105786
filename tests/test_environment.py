"""Environment variables in a program that has more rights than whoever started it: none of them counts."""

import json
import os
import textwrap
from pathlib import Path
from typing import Any

import pytest

from aiotls.environment import variable
from tests.support.pki import Named
from tests.support.programs import python

NUMBERS = ("getuid", "geteuid", "getgid", "getegid")

PROGRAM = """
    import os, sys
    {beginning}
    import json, pathlib
    import aiotls
    from aiotls.certificate_authorities import get_ca_certificates

    aiotls.create_secure_context(ca=[])
    ours = [pathlib.Path(path).read_text() for path in sys.argv[1:]]
    kinds = ("default", "system", "extra")
    print(json.dumps({{
        **{{kind: [pem in get_ca_certificates(kind) for pem in ours] for kind in kinds}},
        "minimum": aiotls.defaults.min_version,
    }}))
"""

HEEDED = {
    "default": [True, True],
    "system": [True, False],
    "extra": [False, True],
    "minimum": "TLSv1.3",
}
IGNORED = {
    "default": [False, False],
    "system": [False, False],
    "extra": [False, False],
    "minimum": "TLSv1.2",
}


def seen(pki: Named, folder: Path, beginning: str) -> tuple[dict[str, Any], bool]:
    """What a program makes of its environment, and whether it has begun a key log."""
    system, extra, log = (folder / name for name in ("system.pem", "extra.pem", "keys.log"))
    system.write_bytes(pki.ca.cert_pem)
    extra.write_bytes(pki.ca_ec.cert_pem)
    done = python(
        "-c",
        textwrap.dedent(PROGRAM).format(beginning=beginning),
        system,
        extra,
        SSL_CERT_FILE=system,
        SSL_CERT_DIR=folder / "missing",
        AIOTLS_EXTRA_CA_CERTS=extra,
        AIOTLS_OPTIONS="--tls-min-v1.3",
        SSLKEYLOGFILE=log,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), log.exists()


def test_a_usual_program(pki: Named, tmp_path: Path) -> None:
    """There all of them count."""
    assert seen(pki, tmp_path, "") == (HEEDED, True)


@pytest.mark.parametrize("number", NUMBERS)
def test_other_rights(pki: Named, tmp_path: Path, number: str) -> None:
    """Neither whom it trusts, nor its defaults, nor where its secrets go is chosen by whoever starts it."""
    beginning = f"real = os.{number}(); os.{number} = lambda: real + 1"
    assert seen(pki, tmp_path, beginning) == (IGNORED, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its real user and its groups")
@pytest.mark.parametrize("change", ["os.setegid(65534)", "os.setresgid(65534, 0, 0)", "os.setresuid(65534, 0, 0)"])
def test_other_rights_of_the_system(pki: Named, tmp_path: Path, change: str) -> None:
    """The same where the system itself says so."""
    assert seen(pki, tmp_path, change) == (IGNORED, False)


@pytest.mark.parametrize("beginning", ["", "real = os.getegid(); os.getegid = lambda: real + 1"])
@pytest.mark.parametrize(
    ("name", "value"), [("AIOTLS_USE_SYSTEM_CA", "nonsense"), ("AIOTLS_OPTIONS", "--nonsense"), ("SSLKEYLOGFILE", "/")]
)
def test_mistakes(beginning: str, name: str, value: str) -> None:
    """What cannot work is an error of the usual program alone."""
    program = f"import os\n{beginning}\nimport aiotls\naiotls.create_secure_context()\nprint('went on')\n"
    choices: dict[str, Any] = {name: value}
    done = python("-c", program, **choices)
    assert (done.stdout == "went on\n") is bool(beginning)
    assert (name in done.stderr) is not bool(beginning)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_variable(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """Its value, and None for what is not set or empty, or must not count."""
    monkeypatch.setenv("AIOTLS_OPTIONS", "words")
    assert variable("AIOTLS_OPTIONS") == "words"
    real = getattr(os, number)()
    monkeypatch.setattr(os, number, lambda: real + 1)
    assert variable("AIOTLS_OPTIONS") is None
    monkeypatch.undo()
    monkeypatch.setenv("AIOTLS_OPTIONS", "")
    assert variable("AIOTLS_OPTIONS") is None
    monkeypatch.delenv("AIOTLS_OPTIONS")
    assert variable("AIOTLS_OPTIONS") is None
