"""The OpenSSL that the compiled core is linked with.

``AIOTLS_OPENSSL=system`` takes the machine's (3.0 or newer) as it is.  ``AIOTLS_OPENSSL=vendored`` builds the release
whose source the crate `openssl-src` carries, at the version that `native/Cargo.lock` names, once, and keeps it in
``${XDG_CACHE_HOME:-~/.cache}/aiotls/openssl/``.  Without the variable it is `system` when that is 3.5 or newer.

Run as a program it makes sure that the OpenSSL is there, and then runs the command given to it in the environment that
links with it::

    python3 build_backend/aiotls_openssl.py cargo clippy --manifest-path native/Cargo.toml
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT / "native" / "Cargo.toml"

OLDEST_SYSTEM = (3, 0)
"""The oldest OpenSSL of the machine that can be linked."""
GOOD_SYSTEM = (3, 5)
"""The oldest OpenSSL of the machine that is preferred to building one."""

CONFIGURE = [
    # These paths end up in the library: it reads the machine's openssl.cnf and certificates, and never a folder that
    # only existed while it was built.
    "--prefix=/usr",
    "--libdir=lib",
    "--openssldir=/etc/ssl",
    "no-shared",
    "no-module",
    "no-tests",
    "no-docs",
    "no-apps",
    # An engine of the machine is linked with the machine's libcrypto, and must not be given objects of this one.
    "no-engine",
    "enable-legacy",
    "enable-tls-deprecated-ec",
    "enable-ktls",
    "enable-ssl-trace",
    "no-weak-ssl-ciphers",
    "-fPIC",
]


@dataclass(frozen=True)
class Compression:
    """A library that OpenSSL compresses certificates with."""

    name: str
    headers: tuple[str, ...]
    functions: tuple[str, ...]
    archives: tuple[str, ...]
    debian: str


COMPRESSIONS = [
    Compression("zlib", ("zlib.h",), ("deflate", "inflate"), ("libz.a",), "zlib1g-dev"),
    Compression(
        "brotli",
        ("brotli/encode.h", "brotli/decode.h"),
        ("BrotliEncoderCompress", "BrotliDecoderDecompress"),
        ("libbrotlienc.a", "libbrotlidec.a", "libbrotlicommon.a"),
        "libbrotli-dev",
    ),
    Compression("zstd", ("zstd.h",), ("ZSTD_compressStream2", "ZSTD_decompressStream"), ("libzstd.a",), "libzstd-dev"),
]


def main() -> None:
    check_tools()
    variables = environment()
    if command := sys.argv[1:]:
        os.execvpe(command[0], command, os.environ | variables)


def check_tools() -> None:
    """Stop with clear words when something is missing that the build cannot do without."""
    rust = tomllib.loads(MANIFEST.read_text())["package"]["rust-version"]
    cargo = _output("cargo", "--version")
    if _version(cargo) < _version(rust):
        found = f"{cargo.strip()} is too old" if cargo else "cargo is missing"
        _fail(
            f"{found}: the compiled core needs Rust {rust} or newer. Install it with rustup (https://rustup.rs), "
            "or on Debian 13 and newer with: apt-get install cargo"
        )
    if _compiler() is None:
        _fail("a C compiler is missing. On Debian: apt-get install gcc libc6-dev")
    if chosen() == "system":
        version = _system_version()
        if version < OLDEST_SYSTEM:
            found = f"OpenSSL {'.'.join(map(str, version))} is too old" if version else "pkg-config finds no OpenSSL"
            _fail(
                f"AIOTLS_OPENSSL=system: {found}; 3.0 or newer is needed. "
                "On Debian: apt-get install pkg-config libssl-dev. Or build our own with AIOTLS_OPENSSL=vendored"
            )
        return
    for command, package in (
        # Debian's smallest perl lacks modules that OpenSSL's Configure loads.
        (["perl", "-MFindBin", "-MIPC::Cmd", "-e", "print 1"], "perl"),
        (["make", "--version"], "make"),
        (["ar", "--version"], "binutils"),
    ):
        if not _output(*command):
            _fail(f"{command[0]} is missing, which builds OpenSSL. On Debian: apt-get install {package}")


def chosen() -> str:
    """Which OpenSSL is to be linked: ``"vendored"`` or ``"system"``."""
    mode = os.environ.get("AIOTLS_OPENSSL")
    if not mode:
        return "system" if _system_version() >= GOOD_SYSTEM else "vendored"
    if mode not in ("vendored", "system"):
        _fail(f"AIOTLS_OPENSSL={mode}: it must be vendored or system")
    return mode


def environment() -> dict[str, str]:
    """The variables with which Cargo links the chosen OpenSSL, which is built first when it is not there yet."""
    mode = chosen()
    variables = {"CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR") or str(ROOT / "build" / "rust" / mode)}
    if mode == "vendored":
        directory = vendored()
        variables |= {
            "OPENSSL_DIR": str(directory),
            "OPENSSL_LIB_DIR": str(directory / "lib"),
            "OPENSSL_INCLUDE_DIR": str(directory / "include"),
            "OPENSSL_STATIC": "1",
            "OPENSSL_NO_VENDOR": "1",
        }
    return variables


def vendored() -> Path:
    """The folder with the headers and static libraries of our own OpenSSL, which is built when it is not there yet."""
    version, source = _source()
    compressions = [compression for compression in COMPRESSIONS if _usable(compression)]
    archives = [_archive(name) for compression in compressions for name in compression.archives]
    configure = [*CONFIGURE, *(f"enable-{compression.name}" for compression in compressions)]
    if platform.machine() in ("x86_64", "aarch64", "arm64"):
        configure.append("enable-ec_nistp_64_gcc_128")

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aiotls" / "openssl"
    name = f"{version}-{_key(version, configure, archives)}"
    finished = cache / name
    if finished.is_dir():
        return finished
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        _acquire(lock.fileno())
        if not finished.is_dir():
            for abandoned in cache.glob(f".{name}.*"):
                shutil.rmtree(abandoned)
            with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=cache) as folder:
                _build(version, source, configure, archives, Path(folder)).rename(finished)
    return finished


def _source() -> tuple[str, Path]:
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--manifest-path={MANIFEST}"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        _fail("cargo could not fetch the crates that native/Cargo.lock names; its own words are above")
    crates = {crate["name"]: crate for crate in json.loads(result.stdout)["packages"]}
    crate = crates["openssl-src"]
    return crate["version"].partition("+")[2], Path(crate["manifest_path"]).parent / "openssl"


def _usable(compression: Compression) -> bool:
    """Whether the headers and static libraries are there, and can become part of a shared object that hides them."""
    program = [f"#include <{header}>" for header in compression.headers]
    program += [f"void *use_{function} = (void *){function};" for function in compression.functions]
    command = [str(_compiler()), "-shared", "-fPIC", "-o", os.devnull, "-x", "c", "-", "-Wl,-z,defs,--exclude-libs,ALL"]
    command += ["-x", "none", *(str(_archive(name)) for name in compression.archives), "-lm"]
    probe = subprocess.run(command, input="\n".join(program) + "\n", text=True, capture_output=True, check=False)
    if probe.returncode != 0:
        _say(
            f"certificate compression with {compression.name} is left out: its headers or static libraries "
            f"({' '.join(compression.archives)}) are missing. On Debian: apt-get install {compression.debian}"
        )
    return probe.returncode == 0


def _archive(name: str) -> Path:
    return Path(_output(str(_compiler()), f"-print-file-name={name}").strip())


def _key(version: str, configure: list[str], archives: list[Path]) -> str:
    """What distinguishes one build from another."""
    compiler = _output(str(_compiler()), "--version").splitlines()[0]
    contents = [hashlib.sha256(archive.read_bytes()).hexdigest() for archive in archives]
    everything = json.dumps([version, configure, compiler, platform.machine(), contents])
    return hashlib.sha256(everything.encode()).hexdigest()[:12]


def _acquire(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("another build of the same OpenSSL is running: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _build(version: str, source: Path, configure: list[str], archives: list[Path], folder: Path) -> Path:
    """Build in `folder`, and return the folder in it that holds `include` and `lib`."""
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _say(f"building OpenSSL {version} on {jobs} cores, once: this takes two to five minutes")
    begin = time.monotonic()
    tree = folder / "source"
    shutil.copytree(source, tree)
    _run(["perl", "./Configure", *configure], tree)
    _run(["make", f"-j{jobs}", "build_libs"], tree)
    _run(["make", "install_dev", f"DESTDIR={folder / 'install'}"], tree)
    prefix = folder / "install" / "usr"
    _merge(archives, prefix / "lib")
    _say(f"OpenSSL {version} is built ({time.monotonic() - begin:.0f} s)")
    return prefix


def _run(command: list[str], tree: Path) -> None:
    """Run one step, and tell every few seconds how far it is."""
    variables = os.environ | {"CC": str(_compiler())}
    for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        # CFLAGS would replace OpenSSL's own -O3; the others belong to the make that may have called us.
        variables.pop(name, None)
    log = tree.parent / "log"
    process = subprocess.Popen(
        command, cwd=tree, env=variables, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    compiled, reported = 0, time.monotonic()
    with process, log.open("w") as lines:
        for line in process.stdout or ():
            lines.write(line)
            compiled += " -c -o " in line
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                _say(f"OpenSSL: {compiled} files compiled" if compiled else "OpenSSL: preparing")
    if process.returncode != 0:
        print("".join(log.read_text().splitlines(keepends=True)[-40:]), file=sys.stderr)
        _fail(f"the build of OpenSSL failed at: {' '.join(command)} (the end of what it said is above)")


def _merge(archives: list[Path], lib: Path) -> None:
    """Put the compression libraries into libcrypto.a, so that whoever links it needs to know nothing of them."""
    script = ["OPEN libcrypto.a"]
    for archive in archives:
        shutil.copy(archive, lib)
        script.append(f"ADDLIB {archive.name}")
    script += ["SAVE", "END"]
    subprocess.run(["ar", "-M"], cwd=lib, input="\n".join(script) + "\n", text=True, check=True)
    for archive in archives:
        (lib / archive.name).unlink()


def _system_version() -> tuple[int, ...]:
    return _version(_output("pkg-config", "--modversion", "openssl"))


def _version(text: str) -> tuple[int, ...]:
    """The first dotted number in `text`; empty, and so less than any other, when there is none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def _compiler() -> str | None:
    return os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _say(words: str) -> None:
    print(f"aiotls: {words}", file=sys.stderr, flush=True)


def _fail(words: str) -> NoReturn:
    sys.exit(f"aiotls: {words}")


if __name__ == "__main__":
    main()
