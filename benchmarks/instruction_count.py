"""Counts the instructions of each work: builds what is needed, starts valgrind, and reads what it has written."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.callgrind_profile import CallgrindProfile
from benchmarks.certificates import Certificates
from benchmarks.toolchain import Unavailable

ROOT = Path(__file__).resolve().parent.parent

CALIBRATION = "calibration"

PYTHON, CORE, LIBC, OTHER = "Python", "core", "libc", "other"
RUST, LIBSSL, LIBCRYPTO = "Rust", "libssl", "libcrypto"
PARTS = (PYTHON, CORE, RUST, LIBSSL, LIBCRYPTO, LIBC, OTHER)
"""Whose instructions they are; the core is one part where it was built without its symbols."""


@dataclass(frozen=True)
class Work:
    """Something of which the instructions are counted."""

    words: str
    count: int
    """How often it is done."""
    since: tuple[int, int] = (3, 0)
    """The OpenSSL that can do it first."""


WORKS = {
    "server_full13": Work("server: full handshake, TLS 1.3, X25519, P-256 certificate", 20),
    "server_hybrid13": Work("the same with X25519MLKEM768", 20, since=(3, 5)),
    "server_resumed13": Work("server: resumed, TLS 1.3", 20),
    "server_full12": Work("server: full handshake, TLS 1.2, X25519, P-256 certificate", 20),
    "server_resumed12": Work("server: resumed, TLS 1.2", 20),
    "server_down": Work("server: 1 MiB sent", 16),
    "server_up": Work("server: 1 MiB received", 16),
    "server_message": Work("server: 64 bytes received and sent back", 200),
    "client_full13": Work("client: full handshake, TLS 1.3, verified, a line, a byte", 20),
    "client_resumed13": Work("the same, resumed", 20),
    "connection_made": Work("a `Connection` made and thrown away", 100),
}


@dataclass(frozen=True)
class Count:
    """The instructions of one unit of a work."""

    parts: dict[str, int]
    functions: dict[str, int]
    """The functions with the most of them."""
    callers: dict[str, dict[str, int]]
    """For each of these, who has called it, with what that has cost."""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.parts.values())


class Laboratory:
    """Where it is counted: `folder` gets what is built, `symbols` holds an `aiotls` whose core has its symbols."""

    def __init__(self, folder: Path, symbols: Path | None = None) -> None:
        self._folder = folder
        self._sources = symbols or ROOT / "src"
        valgrind = shutil.which("valgrind")
        if valgrind is None:
            raise Unavailable("install valgrind (on Debian: apt-get install valgrind)")
        self._valgrind = valgrind
        self._library = compiled(folder)
        self._libssl = _libssl_names()

    @property
    def valgrind_version(self) -> str:
        """The version of valgrind."""
        return _output(self._valgrind, "--version").strip().removeprefix("valgrind-")

    def facts(self) -> tuple[str, str]:
        """The versions of OpenSSL and Python of what is counted."""
        program = "import aiotls, platform; print(aiotls.openssl_version); print(platform.python_version())"
        openssl, python = _output(sys.executable, "-P", "-c", program, environment=self._environment()).splitlines()
        return openssl, python

    def count(self, names: Iterable[str]) -> dict[str, Count]:
        """Counts once, in a process of its own."""
        works = {name: WORKS[name].count for name in names}
        with tempfile.TemporaryDirectory(prefix="aiotls-") as folder:
            Certificates.make(Path(folder))
            output = Path(folder) / "callgrind.out"
            arguments = [f"{name}={count}" for name, count in {CALIBRATION: 100, **works}.items()]
            done = subprocess.run(
                [
                    *(self._valgrind, "--tool=callgrind", "--quiet", f"--callgrind-out-file={output}"),
                    *("--dump-line=no", "--instr-atstart=no", "--collect-atstart=no"),
                    *(sys.executable, "-P", "-m", "benchmarks.workload", str(self._library), folder, *arguments),
                ],
                env=self._environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"the work failed under valgrind:\n{done.stderr}")
            told = {line["work"]: line for line in map(json.loads, done.stdout.splitlines())}
            profiles = [CallgrindProfile.read(path) for path in Path(folder).glob("callgrind.out.*")]
        counted = {profile.name: profile for profile in profiles}
        hiding = {part: total / 100 for part, total in self._parts(counted[CALIBRATION]).items()}
        return {
            name: self._for_each(counted[name], hiding, told[name]["hidden"], count) for name, count in works.items()
        }

    def _environment(self) -> dict[str, str]:
        """Nothing of ours, so that it is the same everywhere."""
        return {
            "PATH": os.defpath,
            "PYTHONPATH": f"{self._sources}:{ROOT}",
            "PYTHONHASHSEED": "0",
            "OPENSSL_ia32cap": IA32CAP,
        }

    def _for_each(self, profile: CallgrindProfile, hiding: dict[str, float], hidden: int, count: int) -> Count:
        """What one unit has of it, without what it costs to hide the peer."""
        parts = {
            part: round((total - hiding.get(part, 0.0) * hidden) / count)
            for part, total in self._parts(profile).items()
        }
        functions: Counter[str] = Counter()
        for (_, function), total in profile.functions.items():
            functions[_plain(function)] += total
        callers: dict[str, Counter[str]] = {function: Counter() for function, _ in functions.most_common(20)}
        for (function, caller), total in profile.callers.items():
            if _plain(function) in callers:
                callers[_plain(function)][_plain(caller)] += total
        return Count(
            {part: parts[part] for part in PARTS if parts.get(part, 0) > 0},
            {function: round(functions[function] / count) for function in callers},
            {
                function: {caller: round(total / count) for caller, total in of_one.most_common(5)}
                for function, of_one in callers.items()
            },
        )

    def _parts(self, profile: CallgrindProfile) -> Counter[str]:
        parts: Counter[str] = Counter()
        for (file, function), total in profile.functions.items():
            parts[self._part(Path(file).name, _plain(function))] += total
        return parts

    def _part(self, file: str, function: str) -> str:
        if file.startswith("_native."):
            if function.startswith("0x") or not self._libssl:
                return CORE
            if function in self._libssl:
                return LIBSSL
            return RUST if _RUST.search(function) else LIBCRYPTO
        for pattern, part in _FILES:
            if pattern.match(file):
                return part
        return OTHER


_FILES = [
    (re.compile(r"libpython|python|.*\.cpython-|libffi"), PYTHON),
    (re.compile(r"libc\.|libc-|libm\.|libm-|libpthread|ld-|ld\."), LIBC),
]
_RUST = re.compile(r"::|^_R|^_ZN|^PyInit_|^rust_|^__rust|^<")


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


IA32CAP = ":".join(
    (
        # FPU to SSE2 and what else every one has; then SSE3, PCLMULQDQ, SSSE3, FMA, CX16, SSE4.1, SSE4.2, MOVBE,
        # POPCNT, AES, XSAVE, OSXSAVE, AVX; then BMI1, AVX2, BMI2.
        f"{0x078BFBFF | _bits(0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 27, 28) << 32:#x}",
        f"{_bits(3, 5, 8):#x}",
    )
)
"""A processor that valgrind can play everywhere (see OPENSSL_ia32cap(3)): without AVX-512, ADX, SHA and RDRAND."""


def _plain(function: str) -> str:
    """The name of a function without callgrind's mark for a recursive call."""
    return function.partition("'")[0]


def compiled(folder: Path) -> Path:
    """The library by which a program speaks with callgrind."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise Unavailable("install a C compiler (on Debian: apt-get install gcc libc6-dev)")
    source, library = ROOT / "benchmarks" / "callgrind.c", folder / "callgrind.so"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"{source} does not compile here: {done.stderr}")
    return library


def _libssl_names() -> frozenset[str]:
    """The functions of libssl, where aiotls has an OpenSSL of its own."""
    lines = _output(sys.executable, str(ROOT / "build_backend" / "aiotls_openssl.py"), "env").splitlines()
    folder = dict(line.partition("=")[::2] for line in lines).get("OPENSSL_LIB_DIR")
    if folder is None or not (archive := Path(folder) / "libssl.a").exists() or not shutil.which("nm"):
        return frozenset()
    found = (line.split() for line in _output("nm", "--defined-only", str(archive)).splitlines())
    return frozenset(words[2] for words in found if len(words) == 3 and words[1] in "tTwW")


def _output(*command: str, environment: dict[str, str] | None = None) -> str:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False, env=environment
    ).stdout
