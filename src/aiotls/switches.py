"""The words that choose the defaults of a whole program: on the command line of ``aiotls run``, or in AIOTLS_OPTIONS.

`SWITCHES` is the one table of them.  `read` checks words, `choose` says what they mean together, `take_environment`
makes that the defaults of this process.
"""

import contextlib
import difflib
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .defaults import Defaults, defaults
from .environment import variable
from .errors import OptionError

VARIABLE = "AIOTLS_OPTIONS"


@dataclass(frozen=True, slots=True)
class Switch:
    """One word, and what it does."""

    word: str
    help: str
    takes: str = ""
    """What stands behind it, as in ``--tls-keylog=FILE``; empty when nothing does."""


SWITCHES = (
    Switch("--tls-cipher-list", "The default cipher list.", "LIST"),
    Switch("--tls-min-v1.0", "The default minimum is TLS 1.0."),
    Switch("--tls-min-v1.1", "The default minimum is TLS 1.1."),
    Switch("--tls-min-v1.2", "The default minimum is TLS 1.2."),
    Switch("--tls-min-v1.3", "The default minimum is TLS 1.3."),
    Switch("--tls-max-v1.2", "The default maximum is TLS 1.2."),
    Switch("--tls-max-v1.3", "The default maximum is TLS 1.3."),
    Switch("--tls-keylog", "Append the secrets of every connection to FILE, for Wireshark. Insecure.", "FILE"),
    Switch("--trace-tls", "Print every record and handshake message on the error stream. Insecure."),
    Switch("--use-system-ca", "Trust the machine's CA certificates too."),
    Switch("--use-openssl-ca", "Trust the machine's CA certificates (or SSL_CERT_FILE, SSL_CERT_DIR) only."),
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What switches say together; None and False where they say nothing."""

    ciphers: str | None = None
    min_version: str | None = None
    max_version: str | None = None
    key_log: str | None = None
    """The name of a file."""
    trace: bool = False
    use_system_ca: bool = False
    use_openssl_ca: bool = False

    def apply(self, to: Defaults) -> None:
        """Assigns the defaults that were chosen.

        Raises:
            OptionError: OpenSSL does not take the cipher list.
        """
        if self.ciphers is not None:
            try:
                to.ciphers = self.ciphers
            except OptionError as error:
                raise _refusal(f"--tls-cipher-list: {error.message}", "--tls-cipher-list", error.code) from None
        to.min_version = self.min_version or to.min_version
        to.max_version = self.max_version or to.max_version


def read(words: Iterable[str]) -> list[str]:
    """Switches, checked one by one; what takes a value becomes ``--word=value``.

    Args:
        words: A value may stand behind ``=`` or be the next word.

    Raises:
        OptionError: A word is no switch, lacks its value, or has one although it takes none.
    """
    rest = iter(words)
    return [_read(word, rest) for word in rest]


def choose(words: Iterable[str]) -> Choices:
    """What checked switches mean together: the lowest minimum, the highest maximum, else the last one.

    Raises:
        OptionError: Two of them exclude each other.
    """
    given = {word: value for word, _, value in (each.partition("=") for each in words)}
    if "--tls-min-v1.3" in given and "--tls-max-v1.2" in given:
        raise _refusal("--tls-min-v1.3 and --tls-max-v1.2 exclude each other: not both may be given", "--tls-min-v1.3")
    return Choices(
        ciphers=given.get("--tls-cipher-list"),
        min_version=_first_version(given, "--tls-min-v1.0", "--tls-min-v1.1", "--tls-min-v1.2", "--tls-min-v1.3"),
        max_version=_first_version(given, "--tls-max-v1.3", "--tls-max-v1.2"),
        key_log=given.get("--tls-keylog"),
        trace="--trace-tls" in given,
        use_system_ca="--use-system-ca" in given,
        use_openssl_ca="--use-openssl-ca" in given,
    )


def environment_words() -> list[str]:
    """The checked switches in AIOTLS_OPTIONS, which is split as a shell does it.

    Raises:
        OptionError: See `read`; it names the variable.
    """
    with _naming_the_variable():
        try:
            words = shlex.split(variable(VARIABLE) or "")
        except ValueError as error:
            raise _refusal(str(error), VARIABLE) from None
        return read(words)


def inherit(words: Iterable[str]) -> None:
    """Leaves checked switches to child processes, which find them in AIOTLS_OPTIONS."""
    # Where programs start one another with the same words, these do not pile up.
    once = dict.fromkeys(reversed([*words]))
    os.environ[VARIABLE] = shlex.join(reversed(once))


def take_environment() -> None:
    """Makes what AIOTLS_OPTIONS says the defaults of this process.

    Raises:
        OptionError: It holds what cannot work; the error names the variable.
    """
    global _taken
    words = environment_words()
    with _naming_the_variable():
        choices = choose(words)
        choices.apply(defaults)
    _taken = choices


def taken() -> Choices:
    """What this process was told when aiotls was imported."""
    return _taken


def _read(word: str, rest: Iterator[str]) -> str:
    name, equals, value = word.partition("=")
    switch = _BY_WORD.get(name)
    if switch is None:
        near = difflib.get_close_matches(name, _BY_WORD, 1)
        advice = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_BY_WORD)}"
        raise _refusal(f"there is no switch {word!r:.80}{advice}", name)
    if not switch.takes:
        if equals:
            raise _refusal(f"{name} takes no value", name)
        return name
    if not equals:
        value = next(rest, "")
    if not value:
        raise _refusal(f"{name} needs a value: {name}={switch.takes}", name)
    return f"{name}={value}"


def _first_version(given: dict[str, str], *words: str) -> str | None:
    for word in words:
        if word in given:
            return f"TLSv{word.rpartition('v')[2]}".removesuffix(".0")
    return None


@contextlib.contextmanager
def _naming_the_variable() -> Iterator[None]:
    try:
        yield
    except OptionError as error:
        raise _refusal(f"{VARIABLE}: {error.message}", VARIABLE, error.code) from None


def _refusal(message: str, option: str, code: str = "") -> OptionError:
    return OptionError(message, option=option, code=code)


_BY_WORD = {switch.word: switch for switch in SWITCHES}
_taken = Choices()
