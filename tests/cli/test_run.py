"""``python -m aiotls run``: a program as python runs it, with other defaults."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.support.pki import named
from tests.support.programs import Done, environment, python, visit

RUN = ("-m", "aiotls", "run")

SELF = """
    import json, sys
    print(json.dumps({
        "argv": sys.argv, "path": sys.path, "name": __name__, "file": __file__, "package": __package__,
        "spec": __spec__ and __spec__.name, "main": sys.modules["__main__"].__dict__ is globals(),
        "modules": sorted(name for name in sys.modules if name.split(".")[0] in ("aiotls", "click", "runpy")),
        "flags": str(sys.flags), "warnings": sys.warnoptions, "x": sys._xoptions, "command": sys.orig_argv,
    }))
"""
"""What a program can know of how it was started."""

DEFAULTS = """
    import os, json, aiotls
    print(json.dumps({
        "min": aiotls.defaults.min_version, "max": aiotls.defaults.max_version, "ciphers": aiotls.defaults.ciphers,
        "words": os.environ.get("AIOTLS_OPTIONS"),
    }))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(textwrap.dedent(SELF))
    (tmp_path / "defaults.py").write_text(textwrap.dedent(DEFAULTS))
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(textwrap.dedent(SELF))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "program.py").write_text(textwrap.dedent(SELF))
    return tmp_path


def chosen(done: Done) -> dict[str, Any]:
    """What `DEFAULTS` prints."""
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class TestAsPython:
    """Whatever a program is and does, nothing differs from ``python`` alone but the defaults of aiotls."""

    @pytest.mark.parametrize("options", [[], ["-X", "dev", "-W", "error"], ["-Wignore", "-bsuO"], ["-I"], ["-P"]])
    @pytest.mark.parametrize(
        "program",
        [
            ["program.py"],
            ["elsewhere/program.py", "--tls-min-v1.0", "-m", "package", "--", "--help", "", "a b"],
            ["package"],
            ["-m", "package", "--tls-min-v1.0", "-m", "x", "--", "--help"],
            ["-m", "elsewhere.program", "-"],
        ],
        ids=lambda program: " ".join(program[:2]),
    )
    def test_what_it_knows_of_itself(self, folder: Path, options: list[str], program: list[str]) -> None:
        plain = python(*options, *program, cwd=folder)
        ours = python(*options, *RUN, *program, cwd=folder)
        assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)
        # With -I and -P no module of the folder is found.
        assert ours.returncode == 0 or (program[0] == "-m" and options in (["-I"], ["-P"]))

    def test_the_interpreter_tells_which_modules_it_loads(self, folder: Path) -> None:
        """``-v`` holds for the program, not only for what starts it."""
        assert "import 'json'" in python("-v", *RUN, "program.py", cwd=folder).stderr

    def test_options_that_end_in_ours(self, folder: Path) -> None:
        """As in ``python -Xdev -um aiotls run``."""
        plain = python("-Xdev", "-u", "program.py", cwd=folder)
        ours = python("-Xdev", "-um", "aiotls", "run", "program.py", cwd=folder)
        assert json.loads(ours.stdout) == json.loads(plain.stdout)

    @pytest.mark.parametrize(
        "code",
        [
            "",
            "raise SystemExit",
            "raise SystemExit(3)",
            "raise SystemExit('words')",
            "import sys; sys.exit(2)",
            "import os; os._exit(7)",
            "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
            "def f():\n    1 / 0\nf()",
            "raise KeyboardInterrupt",
            "raise BaseException('words')",
            "import nothing_of_this_name",
            "this is no Python",
            "import click; raise click.ClickException('words')",
            "import click; raise click.exceptions.Exit(5)",
            "import atexit; atexit.register(print, 'bye'); print(input())",
            "import threading; threading.Timer(0, print, ['later']).start()",
        ],
    )
    def test_how_it_ends(self, tmp_path: Path, code: str) -> None:
        """Exit codes, exceptions and signals; a traceback begins in the program."""
        (tmp_path / "program.py").write_text(code)
        plain = python("program.py", cwd=tmp_path, stdin="words\n")
        ours = python(*RUN, "--tls-min-v1.0", "program.py", cwd=tmp_path, stdin="words\n")
        assert (ours.returncode, ours.stdout, ours.stderr) == (plain.returncode, plain.stdout, plain.stderr)

    def test_an_interrupt(self, tmp_path: Path) -> None:
        """Ctrl+C reaches the program, which may end as it likes, or as python does."""
        (tmp_path / "program.py").write_text("import signal\nprint('ready', flush=True)\nsignal.pause()\n")
        command = [sys.executable, *RUN, "program.py"]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
        assert process.returncode == -signal.SIGINT
        assert errors.splitlines()[0] == "Traceback (most recent call last):"
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert "aiotls" not in errors

    def test_it_is_the_same_process(self, tmp_path: Path) -> None:
        """Whoever started us talks to the program."""
        (tmp_path / "program.py").write_text("import os; print(os.getpid())")
        with subprocess.Popen(
            [sys.executable, *RUN, "program.py"], cwd=tmp_path, env=environment(), text=True, stdout=subprocess.PIPE
        ) as process:
            output, _ = process.communicate(timeout=10)
        assert int(output) == process.pid

    def test_a_program_from_standard_input(self) -> None:
        done = python(*RUN, "--tls-min-v1.0", "-", "x", stdin=f"import sys; print(sys.argv){textwrap.dedent(DEFAULTS)}")
        assert done.stdout.startswith("['-', 'x']\n")
        assert json.loads(done.stdout.splitlines()[1])["min"] == "TLSv1"

    def test_a_module_that_is_not_there(self, tmp_path: Path) -> None:
        plain = python("-m", "nothing_of_this_name", cwd=tmp_path)
        ours = python(*RUN, "-m", "nothing_of_this_name", cwd=tmp_path)
        assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)
        assert "nothing_of_this_name" in ours.stderr


class TestDefaults:
    """The defaults that a program finds."""

    @pytest.mark.parametrize(
        ("words", "minimum", "maximum", "protocol"),
        [
            ("--tls-max-v1.2", "TLSv1.2", "TLSv1.2", "TLSv1.2"),
            ("", "TLSv1.2", "TLSv1.3", "TLSv1.3"),
            ("--tls-max-v1.3", "TLSv1.2", "TLSv1.3", "TLSv1.3"),
            ("--tls-max-v1.2 --tls-max-v1.3", "TLSv1.2", "TLSv1.3", "TLSv1.3"),
            ("--tls-min-v1.0", "TLSv1", "TLSv1.3", "TLSv1.3"),
            ("--tls-min-v1.0 --tls-min-v1.1", "TLSv1", "TLSv1.3", "TLSv1.3"),
            ("--tls-min-v1.3 --tls-min-v1.0", "TLSv1", "TLSv1.3", "TLSv1.3"),
            ("--tls-min-v1.1", "TLSv1.1", "TLSv1.3", "TLSv1.3"),
            ("--tls-min-v1.1 --tls-max-v1.2", "TLSv1.1", "TLSv1.2", "TLSv1.2"),
            ("--tls-min-v1.2", "TLSv1.2", "TLSv1.3", "TLSv1.3"),
            ("--tls-min-v1.3", "TLSv1.3", "TLSv1.3", "TLSv1.3"),
        ],
    )
    def test_ver_02_to_08(self, tmp_path: Path, words: str, minimum: str, maximum: str, protocol: str) -> None:
        """VER-02..08: each switch is the default, and a connection without options of its own keeps to it."""
        files = named.server_ec.write(tmp_path)
        ca = f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"
        show = "print(aiotls.defaults.min_version, aiotls.defaults.max_version, client.get_protocol())"
        (tmp_path / "program.py").write_text(textwrap.dedent(visit(ca, show)))
        done = python(*RUN, *words.split(), "program.py", files.key, files.chain, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split() == ["welcome", minimum, maximum, protocol]

    @pytest.mark.parametrize("version", ["v1.0", "v1.1"])
    def test_ver_05_06_an_old_peer(self, tmp_path: Path, version: str) -> None:
        """VER-05, VER-06: with the minimum, a peer that speaks no more than that is taken; else it is refused."""
        files = named.server_ec.write(tmp_path)
        name = f"TLS{version}".removesuffix(".0")
        client = f"max_version={name!r}, ca=Path({str(named.ca.write(tmp_path).cert)!r})"
        (tmp_path / "program.py").write_text(textwrap.dedent(visit(client, "print(client.get_protocol())")))
        arguments = ("--tls-cipher-list=ALL:@SECLEVEL=0", "program.py", files.key, files.chain)
        assert python(*RUN, f"--tls-min-{version}", *arguments, cwd=tmp_path).stdout.split() == ["welcome", name]
        assert python(*RUN, *arguments, cwd=tmp_path).stdout.startswith("ERR_SSL_")

    def test_the_cipher_list(self, tmp_path: Path) -> None:
        """CIPH-03: a connection that names no ciphers uses the default list, that of ``--tls-cipher-list``."""
        files = named.server_ec.write(tmp_path)
        ca = f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"
        (tmp_path / "program.py").write_text(textwrap.dedent(visit(ca, "print(client.get_cipher().name)")))
        ciphers = "TLS_CHACHA20_POLY1305_SHA256:ECDHE+CHACHA20"
        arguments = ("program.py", files.key, files.chain)
        done = python(*RUN, f"--tls-cipher-list={ciphers}", *arguments, cwd=tmp_path)
        assert done.stdout.split() == ["welcome", "TLS_CHACHA20_POLY1305_SHA256"]
        done = python(*RUN, "--tls-max-v1.2", "--tls-cipher-list", ciphers, *arguments, cwd=tmp_path)
        assert done.stdout.split() == ["welcome", "ECDHE-ECDSA-CHACHA20-POLY1305"]

    def test_without_switches(self, folder: Path) -> None:
        """The environment stays as it was."""
        assert chosen(python(*RUN, "defaults.py", cwd=folder))["words"] is None
        found = chosen(python(*RUN, "defaults.py", cwd=folder, AIOTLS_OPTIONS="--tls-min-v1.1"))
        assert (found["min"], found["words"]) == ("TLSv1.1", "--tls-min-v1.1")

    @pytest.mark.parametrize(
        ("inherited", "words", "minimum", "ciphers"),
        [
            ("--tls-min-v1.1", "--tls-min-v1.3", "TLSv1.1", None),
            ("--tls-min-v1.3", "--tls-min-v1.1", "TLSv1.1", None),
            ("--tls-cipher-list=AES256", "--tls-cipher-list=HIGH", "TLSv1.2", "HIGH"),
            ("--tls-min-v1.0 --tls-cipher-list=HIGH", "--tls-max-v1.3", "TLSv1", "HIGH"),
        ],
    )
    def test_the_command_line_adds_to_the_environment(
        self, folder: Path, inherited: str, words: str, minimum: str, ciphers: str | None
    ) -> None:
        found = chosen(python(*RUN, *words.split(), "defaults.py", cwd=folder, AIOTLS_OPTIONS=inherited))
        assert found["words"] == f"{inherited} {words}"
        assert found["min"] == minimum
        assert ciphers is None or found["ciphers"] == ciphers

    def test_children_inherit_them(self, tmp_path: Path) -> None:
        """A subprocess, a forked process, and one that multiprocessing spawns; whatever their working directory is."""
        program = """
            import json, multiprocessing, os, subprocess, sys

            def show(folder):
                os.chdir(folder)
                import aiotls
                from aiotls.switches import taken
                return [__name__, aiotls.defaults.min_version, aiotls.defaults.ciphers, taken().key_log]

            if __name__ == "__main__":
                found = {"itself": show("/")}
                for method in ("fork", "spawn", "forkserver"):
                    with multiprocessing.get_context(method).Pool(1) as pool:
                        found[method] = pool.apply(show, ["/"])
                command = "import sys, json; sys.path.insert(0, sys.argv[1]); from program import show; " \\
                    "print(json.dumps(show('/')))"
                words = [sys.executable, "-c", command, os.path.dirname(__file__)]
                found["subprocess"] = json.loads(subprocess.check_output(words))
                print(json.dumps(found))
        """
        (tmp_path / "program.py").write_text(textwrap.dedent(program))
        words = ("--tls-min-v1.1", "--tls-cipher-list=HIGH:!aNULL", "--tls-keylog", "a 'file'")
        done = python(*RUN, *words, tmp_path / "program.py", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        assert set(found) == {"itself", "fork", "spawn", "forkserver", "subprocess"}
        for name, _, *rest in found.values():
            assert name in ("__main__", "__mp_main__", "program")
            assert rest == ["HIGH:!aNULL", str(tmp_path / "a 'file'")]
        assert {minimum for _, minimum, *_ in found.values()} == {"TLSv1.1"}

    def test_a_program_that_starts_another_one(self, folder: Path) -> None:
        """Their words add up, and the same ones do not pile up."""
        outer = f"import subprocess, sys; subprocess.run([sys.executable, *{RUN}, '--tls-min-v1.1', 'defaults.py'])"
        (folder / "outer.py").write_text(outer)
        found = chosen(python(*RUN, "--tls-min-v1.2", "--tls-min-v1.1", "outer.py", cwd=folder))
        assert (found["min"], found["words"]) == ("TLSv1.1", "--tls-min-v1.2 --tls-min-v1.1")


class TestRefusals:
    """What cannot be run: a message, exit code 2, and no traceback."""

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            ([], "Missing argument 'PROGRAM'"),
            (["-m"], "Missing argument 'PROGRAM'"),
            (["missing.py"], "there is no file 'missing.py'"),
            (["--tls-min-v1.4", "program.py"], "--tls-min-v1."),
            (["--tls-keylogs=x", "program.py"], "--tls-keylog"),
            (["--use-sistem-ca", "program.py"], "--use-system-ca"),
            (["--tls-keylog"], "requires an argument"),
            (["--tls-keylog=", "program.py"], "--tls-keylog needs a value: --tls-keylog=FILE"),
            (["--tls-cipher-list=", "program.py"], "--tls-cipher-list needs a value"),
            (["--tls-cipher-list=nope", "program.py"], "--tls-cipher-list: ciphers: no cipher match"),
            (["--trace-tls=yes", "program.py"], "--trace-tls"),
        ],
        ids=" ".join,
    )
    def test_a_message(self, folder: Path, words: list[str], complaint: str) -> None:
        done = python(*RUN, *words, cwd=folder)
        assert (done.returncode, done.stdout) == (2, "")
        error = done.stderr.splitlines()[-1]
        assert error.startswith("Error: ")
        assert complaint in error
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "words",
        [
            "--tls-min-v1.3 --tls-max-v1.2",
            "--tls-max-v1.2 --tls-min-v1.3",
            "--tls-min-v1.0 --tls-min-v1.3 --tls-max-v1.2",
            "--tls-max-v1.2 --tls-min-v1.3 --tls-max-v1.3",
        ],
    )
    def test_ver_04_what_excludes_each_other(self, folder: Path, words: str) -> None:
        """VER-04: a message that names both and says that not both may be given; the program does not run."""
        done = python(*RUN, *words.split(), "program.py", cwd=folder)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "--tls-min-v1.3 and --tls-max-v1.2 exclude each other: not both may be given" in done.stderr

    @pytest.mark.parametrize("words", [("--tls-min-v1.3", "--tls-max-v1.2"), ("--tls-max-v1.2", "--tls-min-v1.3")])
    def test_ver_04_half_of_it_in_the_environment(self, folder: Path, words: tuple[str, str]) -> None:
        """VER-04: one of them stands in AIOTLS_OPTIONS, which the message says."""
        done = python(*RUN, words[0], "program.py", cwd=folder, AIOTLS_OPTIONS=words[1])
        assert done.returncode == 2
        assert done.stdout == ""
        assert f"not both may be given (AIOTLS_OPTIONS says {words[1]})" in done.stderr

    def test_the_environment_alone_cannot_work(self, folder: Path) -> None:
        done = python(*RUN, "program.py", cwd=folder, AIOTLS_OPTIONS="--tls-min-v1.3 --tls-max-v1.2")
        assert done.returncode != 0
        assert done.stdout == ""
        assert "--tls-min-v1.3 and --tls-max-v1.2" in done.stderr
        assert "AIOTLS_OPTIONS" in done.stderr


class TestTrace:
    def test_trace_02(self, tmp_path: Path) -> None:
        """TRACE-02: nothing on stdout; on stderr first the warning, then the records of every connection."""
        files = named.server_ec.write(tmp_path)
        ca = f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"
        (tmp_path / "program.py").write_text(textwrap.dedent(visit(ca)).replace("print(", "(lambda _: None)("))
        done = python(*RUN, "--trace-tls", "program.py", files.key, files.chain, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "")
        warning, _, trace = done.stderr.partition("can expose sensitive data")
        assert "SecurityWarning" in warning
        assert "Record" not in warning
        assert done.stderr.count("SecurityWarning: --trace-tls") == 1
        assert "Sent TLS Record" in trace or "Sent Record" in trace
        # The client and the server of the program, both directions of each.
        assert trace.count("ClientHello,") == trace.count("ServerHello,") == 2

    def test_nothing_by_itself(self, tmp_path: Path) -> None:
        files = named.server_ec.write(tmp_path)
        ca = f"ca=Path({str(named.ca.write(tmp_path).cert)!r})"
        (tmp_path / "program.py").write_text(textwrap.dedent(visit(ca)))
        done = python(*RUN, "--tls-min-v1.2", "program.py", files.key, files.chain, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "welcome\n", "")

    def test_warnings_as_errors(self, tmp_path: Path) -> None:
        """A program that treats warnings as errors does not go on."""
        program = "import aiotls; aiotls.create_secure_context(); print('went on')"
        (tmp_path / "program.py").write_text(program)
        done = python("-W", "error", *RUN, "--trace-tls", "program.py", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "SecurityWarning" in done.stderr.splitlines()[-1]


def test_nothing_is_left_open(folder: Path) -> None:
    """The program has the descriptors that python alone would have."""
    (folder / "program.py").write_text("import os; print(sorted(os.listdir('/dev/fd')))")
    plain = python("program.py", cwd=folder)
    assert python(*RUN, "--tls-min-v1.0", "program.py", cwd=folder).stdout == plain.stdout
    assert os.path.isdir("/dev/fd")
