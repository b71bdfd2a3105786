"""What the value of an option may be: one function for each kind of value.

Each takes the name of the option and the value, gives the value back in one shape, and raises `OptionTypeError` for a
wrong type and `OptionError` for a wrong value; both name the option.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .errors import OptionError, OptionTypeError

T = TypeVar("T")

MAX_SECONDS = 2_147_483.0
"""The longest time that may be asked for, in seconds; about 24 days."""


def wrong_type(option: str, expected: str, value: object) -> OptionTypeError:
    """The error for a value of the wrong type."""
    return OptionTypeError(f"{option} must be {expected}, not {describe(value)}", option=option)


def describe(value: object) -> str:
    """Words for a value in an error; the content of texts and containers, which may be secret, is left out."""
    if value is None or isinstance(value, bool | int | float):
        return f"{value!r:.80}"
    return f"an instance of {type(value).__name__}"


def optional(keywords: Mapping[str, object], option: str, check: Callable[[str, object], T]) -> T | None:
    """The checked value of a keyword, None when it is absent or None."""
    value = keywords.get(option)
    return None if value is None else check(option, value)


def flag(keywords: Mapping[str, object], option: str, default: bool) -> bool:
    """True or False, `default` when the keyword is absent or None."""
    value = keywords.get(option)
    return default if value is None else boolean(option, value)


def boolean(option: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(option, "True or False", value)
    return value


def text(option: str, value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type(option, "a str", value)
    if "\0" in value:
        raise OptionError(f"{option} must not hold a NUL character", option=option)
    if _encode(value, "strict") is None:
        raise OptionError(f"{option} holds a character that has no encoding", option=option)
    return value


def _encode(value: str, errors: str) -> bytes | None:
    try:
        return value.encode("utf-8", errors)
    except UnicodeEncodeError:
        return None


def name(option: str, value: object) -> str:
    """A text that is not empty."""
    checked = text(option, value)
    if not checked:
        raise OptionError(f"{option} must not be empty", option=option)
    return checked


def integer(option: str, value: object, minimum: int, maximum: int) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise _out_of_range(option, "an integer", value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(option, "an int", value)
    if not minimum <= value <= maximum:
        raise _out_of_range(option, f"in the range {minimum}..{maximum}", value)
    return value


def port(option: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(option, "an int", value)
    if not 0 <= value <= 65535:
        raise OptionError(
            f"{option} must be in the range 0..65535, not {value}", option=option, code="ERR_SOCKET_BAD_PORT"
        )
    return value


def seconds(option: str, value: object, *, zero: bool = False) -> float:
    """A time in seconds; `zero` says whether 0 is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(option, "a number of seconds", value)
    if math.isnan(value) or not 0 <= value <= MAX_SECONDS or (value == 0 and not zero):
        raise _out_of_range(option, f"{'at least' if zero else 'above'} 0 and at most {MAX_SECONDS:.0f} seconds", value)
    return float(value)


def function(option: str, value: object) -> Callable[..., Any]:
    if not callable(value):
        raise wrong_type(option, "callable", value)
    return value


def encoded(option: str, value: str) -> bytes:
    """A text in UTF-8, as `os.environ` and the like have it; the text itself, which may be a secret, is not told."""
    octets = _encode(value, "surrogateescape")
    if octets is None:
        # Not inside an except: an exception that this one would remember holds the whole text.
        raise OptionError(f"{option} holds a character that has no encoding", option=option)
    return octets


def octets(option: str, value: object) -> bytes:
    """A copy of anything with the buffer protocol."""
    if isinstance(value, bytes):
        return value
    try:
        return bytes(memoryview(value))  # type: ignore[arg-type]
    except TypeError:
        raise wrong_type(option, "a bytes-like object", value) from None


def _out_of_range(option: str, expected: str, value: float) -> OptionError:
    return OptionError(f"{option} must be {expected}, not {value!r:.80}", option=option, code="ERR_OUT_OF_RANGE")


def item_names(option: str, count: int) -> list[str]:
    """What to call the values of an option in errors: by their position, where there are several."""
    return [option] if count == 1 else [f"{option}[{index}]" for index in range(count)]
