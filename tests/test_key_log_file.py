"""The key log of a whole process: SSLKEYLOGFILE and ``--tls-keylog``."""

import asyncio
import contextlib
import os
import re
import stat
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aiotls.errors import OptionError
from aiotls.key_log import open_key_log
from tests.conftest import Run
from tests.interop.capture import recording
from tests.interop.test_keylog import decrypted
from tests.support.peers import needs
from tests.support.pki import named
from tests.support.programs import Done, environment, python, visit
from tests.support.servers import echo, port_of, serving

LINE = re.compile(r"([A-Z0-9_]+) [0-9a-f]{64} (?:[0-9a-f]{64}|[0-9a-f]{96})")
TLS12 = ["CLIENT_RANDOM"]
TLS13 = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_TRAFFIC_SECRET_0",
]
VARIABLE, SWITCH = "SSLKEYLOGFILE", "--tls-keylog"

ONE_CONTEXT = "import aiotls; aiotls.create_secure_context(ca=[]); print('went on')"

CLIENT = """
    import asyncio, sys
    from pathlib import Path
    import aiotls

    async def main():
        port, ca, version, question = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4].encode()
        options = {"ca": ca, "servername": "localhost", "max_version": version}
        async with aiotls.connect("127.0.0.1", port, **options) as client:
            client.end(question)
            assert await client.read() == question

    asyncio.run(main())
"""

PYTHONS_OWN_SERVER = """
    import socket, ssl, sys
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        below, _ = listening.accept()
        with context.wrap_socket(below, server_side=True) as tls:
            while data := tls.recv(4096):
                tls.sendall(data)
"""


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[VARIABLE, SWITCH])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def logging_to(way: str, path: str | Path) -> dict[str, Any]:
    """The environment in which a program writes its key log to a file."""
    return {VARIABLE: path} if way == VARIABLE else {"AIOTLS_OPTIONS": f"{SWITCH}='{path}'"}


def visited(folder: Path, *, cwd: Path | None = None, **choices: Any) -> Done:
    """A connection between a client and a server of one process, which ends well."""
    files = named.server_ec.write(folder)
    client = f"ca=Path({str(named.ca.write(folder).cert)!r})"
    done = python("-c", textwrap.dedent(visit(client)), files.key, files.chain, cwd=cwd, **choices)
    assert (done.returncode, done.stdout) == (0, "welcome\n"), done.stderr
    return done


def labels(text: str) -> list[str]:
    """What the lines of a log are about, in alphabetical order; each line must be whole."""
    assert text.endswith("\n")
    found = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        found.append(match[1])
    return sorted(found)


# ---- what is written


def test_failure_model_29_nothing_by_itself(tmp_path: Path) -> None:
    """Failure model 29: no listener, no option, no variable: no file, no warning, no line anywhere."""
    folder = tmp_path / "empty"
    folder.mkdir()
    done = visited(tmp_path, cwd=folder)
    assert done.stderr == ""
    assert [*folder.iterdir()] == []
    assert visited(tmp_path, cwd=folder, SSLKEYLOGFILE="").stderr == ""
    assert [*folder.iterdir()] == []


def test_failure_model_29_mode(tmp_path: Path, way: str, version: str) -> None:
    """Failure model 29: every line of both ends of a connection, in a file that its owner alone may read; one warning.

    KEY-01: five lines for each end, one under TLS 1.2.
    """
    path = tmp_path / "keys.log"
    choices = logging_to(way, path)
    if version == "TLSv1.2":
        choices["AIOTLS_OPTIONS"] = f"{choices.get('AIOTLS_OPTIONS', '')} --tls-max-v1.2"
    done = visited(tmp_path, **choices)
    assert labels(path.read_text()) == sorted(2 * (TLS12 if version == "TLSv1.2" else TLS13))
    assert set(Counter(path.read_text().splitlines()).values()) == {2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done.stderr.count("SecurityWarning") == 1
    (warning,) = (line for line in done.stderr.splitlines() if "SecurityWarning" in line)
    assert way in warning
    assert str(path) in warning


def test_a_file_that_is_there_grows(tmp_path: Path, way: str) -> None:
    """What stands in it stays; from now on nobody else may read it."""
    path = tmp_path / "keys.log"
    path.write_text("# words\n")
    path.chmod(0o640)
    visited(tmp_path, **logging_to(way, path))
    visited(tmp_path, **logging_to(way, path))
    first, _, rest = path.read_text().partition("\n")
    assert first == "# words"
    assert labels(rest) == sorted(4 * TLS13)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_switch_counts_more(tmp_path: Path) -> None:
    """Where both are given."""
    one, other = tmp_path / "one", tmp_path / "other"
    done = visited(tmp_path, SSLKEYLOGFILE=one, AIOTLS_OPTIONS=f"{SWITCH}={other}")
    assert not one.exists()
    assert labels(other.read_text()) == sorted(2 * TLS13)
    assert done.stderr.count("SecurityWarning") == 1


def test_the_launcher(tmp_path: Path) -> None:
    """``python -m aiotls run --tls-keylog=FILE``, relative to where it was started."""
    files = named.server_ec.write(tmp_path)
    client = f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"
    program = tmp_path / "program.py"
    program.write_text(f"import os\nos.chdir('/')\n{textwrap.dedent(visit(client))}")
    arguments = (f"{SWITCH}=keys.log", "program.py", files.key, files.chain)
    done = python("-m", "aiotls", "run", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "welcome\n")
    assert labels((tmp_path / "keys.log").read_text()) == sorted(2 * TLS13)
    assert done.stderr.count("SecurityWarning") == 1


def test_it_is_read_with_the_first_context(tmp_path: Path) -> None:
    """A program may set the variable itself, before it makes a context; a later change is not heeded."""
    program = f"""
        import os, sys, aiotls
        os.environ["SSLKEYLOGFILE"] = {str(tmp_path / "one")!r}
        assert not os.path.exists({str(tmp_path / "one")!r})
        aiotls.create_secure_context(ca=[])
        os.environ["SSLKEYLOGFILE"] = {str(tmp_path / "other")!r}
        aiotls.create_secure_context(ca=[])
        print(*sorted(os.listdir({str(tmp_path)!r})))
    """
    done = python("-c", textwrap.dedent(program))
    assert (done.returncode, done.stdout) == (0, "one\n")
    assert done.stderr.count("SecurityWarning") == 1


def test_the_warning_stands_where_the_context_is_made(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import aiotls\n\n\naiotls.create_secure_context(ca=[])\n")
    done = python(program, SSLKEYLOGFILE=tmp_path / "keys.log")
    assert done.stderr.startswith(f"{program}:4: SecurityWarning: SSLKEYLOGFILE: ")


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_the_environment_is_to_be_ignored(tmp_path: Path, option: str) -> None:
    """As in Python's own ssl; what was asked for by a switch is still done."""
    path = tmp_path / "keys.log"
    done = python(option, "-c", ONE_CONTEXT, SSLKEYLOGFILE=path)
    assert (done.stdout, done.stderr) == ("went on\n", "")
    assert not path.exists()
    python(option, "-c", ONE_CONTEXT, AIOTLS_OPTIONS=f"{SWITCH}={path}")
    assert path.exists()


def test_programs_that_are_started_do_not_inherit_the_file(tmp_path: Path) -> None:
    """The descriptor is closed for them; a forked process goes on writing to it."""
    program = """
        import os, subprocess, sys, aiotls
        aiotls.create_secure_context(ca=[])
        listing = "import os; print([name for name in map(os.path.realpath, os.scandir('/dev/fd')) if 'keys' in name])"
        print(subprocess.check_output([sys.executable, "-c", listing], close_fds=False))
    """
    done = python("-c", textwrap.dedent(program), SSLKEYLOGFILE=tmp_path / "keys.log")
    assert (done.returncode, done.stdout) == (0, "b'[]\\n'\n"), done.stderr


def test_processes_share_a_file(tmp_path: Path) -> None:
    """Several that write at once: every line is whole."""
    path = tmp_path / "keys.log"
    files = named.server_ec.write(tmp_path)
    program = textwrap.dedent(visit(f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"))
    program = program.replace("asyncio.run(main())", "import os\nfor _ in range(3): os.fork()\nasyncio.run(main())")
    done = python("-c", program, files.key, files.chain, SSLKEYLOGFILE=path)
    assert done.returncode == 0
    assert done.stdout.count("welcome") == 8
    assert labels(path.read_text()) == sorted(16 * TLS13)
    assert set(Counter(path.read_text().splitlines()).values()) == {2}


# ---- other programs


@contextlib.asynccontextmanager
async def child(program: str, *arguments: object, **choices: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs while we do; it must end well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(program),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        env=environment(**choices),
    )
    try:
        yield process
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@needs("tshark")
def test_tshark(run: Run, tmp_path: Path, version: str) -> None:
    """With the file of a child process, tshark shows what both sides have said."""
    question = "GET /marmalade"

    async def main() -> None:
        ca = named.ca.write(tmp_path).cert
        keys = tmp_path / "child.log"
        async with serving(echo) as server, recording(port_of(server)) as recorder:
            async with child(CLIENT, recorder.port, ca, version, question, SSLKEYLOGFILE=keys):
                pass
            await recorder.ended.wait()
        assert question.encode() not in b"".join(data for _, data in recorder.segments)
        lines = keys.read_bytes().splitlines(keepends=True)
        assert await decrypted(recorder, lines, tmp_path) == 2 * question.encode()
        assert await decrypted(recorder, [], tmp_path) == b""

    run(main)


def test_pythons_own_ssl(run: Run, tmp_path: Path, version: str) -> None:
    """At the other end of the same connection it writes the same lines."""

    async def main() -> None:
        files = named.server_ec.write(tmp_path)
        ca = named.ca.write(tmp_path).cert
        async with child(PYTHONS_OWN_SERVER, files.chain, files.key, SSLKEYLOGFILE=tmp_path / "theirs") as server:
            assert server.stdout
            port = int(await server.stdout.readline())
            async with child(CLIENT, port, ca, version, "words", SSLKEYLOGFILE=tmp_path / "ours"):
                pass
        ours, theirs = ((tmp_path / name).read_text() for name in ("ours", "theirs"))
        assert labels(ours) == (TLS12 if version == "TLSv1.2" else TLS13)
        assert sorted(ours.splitlines()) == sorted(line for line in theirs.splitlines() if not line.startswith("#"))

    run(main)


def test_one_file_for_both(run: Run, tmp_path: Path) -> None:
    """A program that uses aiotls and Python's own ssl has one log."""

    async def main() -> None:
        files = named.server_ec.write(tmp_path)
        async with child(PYTHONS_OWN_SERVER, files.chain, files.key, SSLKEYLOGFILE=tmp_path / "both") as server:
            assert server.stdout
            port = int(await server.stdout.readline())
            ca = named.ca.write(tmp_path).cert
            async with child(CLIENT, port, ca, "TLSv1.3", "words", SSLKEYLOGFILE=tmp_path / "both"):
                pass

    run(main)
    text = "".join(line for line in (tmp_path / "both").read_text().splitlines(True) if not line.startswith("#"))
    assert labels(text) == sorted(2 * TLS13)


def test_beside_a_listener(run: Run, tmp_path: Path) -> None:
    """Listeners of "keylog" are told the same lines."""
    files = named.server_ec.write(tmp_path)
    client = f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"
    program = textwrap.dedent(visit(client)).replace(
        "    try:", '    client.on("keylog", lambda line: print(line.decode(), end=""))\n        try:', 1
    )
    done = python("-c", program, files.key, files.chain, SSLKEYLOGFILE=tmp_path / "keys.log")
    *lines, last = done.stdout.splitlines()
    assert last == "welcome"
    assert sorted(2 * lines) == sorted((tmp_path / "keys.log").read_text().splitlines())
    assert len(lines) == 5


# ---- what is refused


class TestRefusals:
    """Failure model 29: no key log where it could reach somebody else."""

    @pytest.mark.parametrize("target", ["a file", "nothing"])
    def test_a_symbolic_link(self, tmp_path: Path, target: str) -> None:
        """Failure model 29: it is not followed, whether or not it leads anywhere."""
        secret = tmp_path / "elsewhere"
        if target == "a file":
            secret.touch()
        (tmp_path / "keys.log").symlink_to(secret)
        with pytest.raises(OptionError, match=r"WAY: .*keys.log.*symbolic link") as caught:
            open_key_log(str(tmp_path / "keys.log"), "WAY")
        assert caught.value.option == "WAY"
        assert secret.exists() is (target == "a file")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_another_owner(self, tmp_path: Path) -> None:
        """Failure model 29: a file of somebody else, even one that we may write to."""
        path = tmp_path / "keys.log"
        path.touch()
        path.chmod(0o666)
        os.chown(path, 12345, -1)
        with pytest.raises(OptionError, match="belongs to another user"):
            open_key_log(str(path), "WAY")

    def test_a_second_name(self, tmp_path: Path) -> None:
        """Failure model 29: a hard link to another file of ours."""
        (tmp_path / "other").touch()
        os.link(tmp_path / "other", tmp_path / "keys.log")
        with pytest.raises(OptionError, match="second name"):
            open_key_log(str(tmp_path / "keys.log"), "WAY")

    @pytest.mark.parametrize("kind", ["folder", "pipe", "pipe with a reader", "device", "socket"])
    def test_no_regular_file(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "keys.log"
        with contextlib.ExitStack() as stack:
            if kind == "folder":
                path.mkdir()
            elif kind == "device":
                path = Path("/dev/null")
            elif kind == "socket":
                import socket

                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
            else:
                os.mkfifo(path)
                if kind == "pipe with a reader":
                    stack.callback(os.close, os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            with pytest.raises(OptionError, match=r"WAY: .*(no regular file|Is a directory)"):
                open_key_log(str(path), "WAY")

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="No such file or directory") as caught:
            open_key_log(str(tmp_path / "missing" / "keys.log"), "WAY")
        assert caught.value.code == "ENOENT"

    def test_the_context_is_not_made(self, tmp_path: Path, way: str) -> None:
        """Failure model 29: each time, with an error that names what asked for the log; nothing else happens."""
        path = tmp_path / "keys.log"
        path.symlink_to(tmp_path / "elsewhere")
        program = """
            import aiotls
            for _ in range(2):
                try:
                    aiotls.create_secure_context(ca=[])
                except aiotls.OptionError as error:
                    print(error.option, error.message)
        """
        done = python("-c", textwrap.dedent(program), **logging_to(way, path))
        assert (done.returncode, done.stderr) == (0, "")
        first, second = done.stdout.splitlines()
        assert first == second
        assert first.startswith(f"{way} {way}: ")
        assert str(path) in first
        assert not (tmp_path / "elsewhere").exists()


def test_the_descriptor(tmp_path: Path) -> None:
    """It appends, whatever else writes to the file, and a umask takes nothing away that its owner needs."""
    path = tmp_path / "keys.log"
    mask = os.umask(0)
    try:
        fd = open_key_log(str(path), "WAY")
    finally:
        os.umask(mask)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not os.get_inheritable(fd)
        os.write(fd, b"one\n")
        with path.open("a") as other:
            other.write("other\n")
        os.write(fd, b"two\n")
        assert path.read_text() == "one\nother\ntwo\n"
    finally:
        os.close(fd)
