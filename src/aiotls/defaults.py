"""The assignable defaults: one typed object, checked on assignment, read when a context or a server is made."""

import difflib
from collections.abc import Callable
from typing import NoReturn

from . import checks
from .constants import DEFAULT_CORE_CIPHER_LIST
from .versions import parse_version


class Defaults:
    """What applies where an option is not given.

    A change holds for contexts and servers made after it, in every thread.

    Raises:
        OptionError: A value that cannot work was assigned; it names the default.

    Example::

        aiotls.defaults.min_version = "TLSv1.3"
    """

    ciphers: str
    """The cipher list, TLS 1.3 names included."""
    ecdh_curve: str
    """``"auto"`` (what OpenSSL prefers), or a colon-separated list of groups."""
    min_version: str
    """``"TLSv1"`` to ``"TLSv1.3"``; a member of `ssl.TLSVersion` may be assigned too."""
    max_version: str
    """Likewise."""
    client_reneg_limit: int
    """How many renegotiations a client may ask for within `client_reneg_window`."""
    client_reneg_window: float
    """In seconds."""

    __slots__ = ("ciphers", "client_reneg_limit", "client_reneg_window", "ecdh_curve", "max_version", "min_version")

    def __init__(self) -> None:
        self.ciphers = DEFAULT_CORE_CIPHER_LIST
        self.ecdh_curve = "auto"
        self.min_version = "TLSv1.2"
        self.max_version = "TLSv1.3"
        self.client_reneg_limit = 3
        self.client_reneg_window = 600.0

    def __setattr__(self, name: str, value: object) -> None:
        check = _CHECKS.get(name)
        if check is None:
            near = difflib.get_close_matches(name, _CHECKS, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_CHECKS)}"
            raise AttributeError(f"there is no default {name!r}; {advice}")
        object.__setattr__(self, name, check(f"defaults.{name}", value))

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a default can be changed, but not be deleted")

    def __repr__(self) -> str:
        return f"Defaults({', '.join(f'{name}={getattr(self, name)!r}' for name in _CHECKS)})"


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "ciphers": checks.name,
    "ecdh_curve": checks.name,
    "min_version": lambda option, value: parse_version(value, option),
    "max_version": lambda option, value: parse_version(value, option),
    "client_reneg_limit": lambda option, value: checks.integer(option, value, 0, 2**31 - 1),
    "client_reneg_window": checks.seconds,
}


def add_check(name: str, check: Callable[[object], None]) -> None:
    """Lets a layer that sees OpenSSL refuse more: `check` raises for a value that cannot work."""
    first = _CHECKS[name]

    def both(option: str, value: object) -> object:
        checked = first(option, value)
        check(checked)
        return checked

    _CHECKS[name] = both


defaults = Defaults()
