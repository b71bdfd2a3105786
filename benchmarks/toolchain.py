"""Builds the programs in C and Go that are measured or measured with, into ``build/benchmarks/``."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
OPENSSL = ROOT / "build_backend" / "aiotls_openssl.py"
OLDEST_GO = (1, 24)


class Unavailable(Exception):
    """A program cannot be had; the words say how it could be."""


class Toolchain:
    """Builds in `folder`, each program when its source or the way to build it has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl: list[str] | None = None

    def c(self, name: str) -> Path:
        """The program made of ``peers/NAME.c``, linked with the OpenSSL that aiotls is linked with."""
        source = PEERS / f"{name}.c"
        command = [*_compiler(), "-O2", "-Wno-deprecated-declarations", "-o", str(self.folder / name), str(source)]
        return self._build(name, [*command, *self.openssl()], [source, PEERS / "c_tls.h"])

    def go(self, name: str) -> Path:
        """The program made of ``peers/NAME.go``."""
        found = re.search(r"go(\d+)\.(\d+)", _output("go", "version")) if shutil.which("go") else None
        if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
            raise Unavailable(f"install Go {'.'.join(map(str, OLDEST_GO))} or newer, and put it on PATH")
        source = PEERS / f"{name}.go"
        return self._build(name, ["go", "build", "-o", str(self.folder / name), str(source)], [source])

    def openssl(self) -> list[str]:
        """The words that make a C compiler link with it."""
        if self._openssl is None:
            # Under the backend's own environment: its folder where aiotls has an OpenSSL of its own, else nothing.
            lines = _output(sys.executable, str(OPENSSL), "env").splitlines()
            variables = dict(line.partition("=")[::2] for line in lines)
            if "OPENSSL_STATIC" in variables:
                lib = Path(variables["OPENSSL_LIB_DIR"])
                archives = [str(lib / "libssl.a"), str(lib / "libcrypto.a")]
                # c_load brings two functions of its own in the place of libcrypto's.
                muldefs = ["-Wl,-z,muldefs"] if sys.platform == "linux" else []
                libraries = ["-lpthread", "-ldl", "-lm"]
                self._openssl = [f"-I{variables['OPENSSL_INCLUDE_DIR']}", *muldefs, *archives, *libraries]
            else:
                words = _output("pkg-config", "--cflags", "--libs", "openssl") if shutil.which("pkg-config") else ""
                self._openssl = words.split() or ["-lssl", "-lcrypto"]
        return self._openssl

    def _build(self, name: str, command: list[str], sources: list[Path]) -> Path:
        program, recipe = self.folder / name, self.folder / f"{name}.recipe"
        how = "\n".join([*command, *(str(source.stat().st_mtime_ns) for source in sources)])
        if program.exists() and recipe.exists() and recipe.read_text() == how:
            return program
        self.folder.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            (self.folder / f"{name}.log").write_text(result.stderr)
            errors = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
            raise Unavailable(f"it does not compile here: {errors[0] if errors else f'see {self.folder / name}.log'}")
        recipe.write_text(how)
        return program


def _compiler() -> list[str]:
    """The words that start the C compiler: those of ``CC``, or the first that is found."""
    named = shlex.split(os.environ.get("CC", ""))
    for words in [named] if named else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return words
    raise Unavailable("install a C compiler (on Debian: apt-get install gcc libc6-dev)")


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
