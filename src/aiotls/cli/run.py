"""``aiotls run``: a program with other defaults.

The interpreter is started again in place of this process, as it would be for the program alone, so nothing about the
program differs but the words in AIOTLS_OPTIONS.
"""

import os
import re
import sys
from collections.abc import Iterator

import click

from .. import switches
from ..defaults import Defaults
from ..errors import OptionError


def _run(program: str, arguments: tuple[str, ...], as_module: bool, **given: object) -> None:
    words = _join(given)
    if not as_module and program != "-" and not os.path.exists(program):
        raise click.UsageError(f"there is no file {program!r}")
    if words:
        switches.inherit(words)
    command = [sys.executable, *_interpreter_options(), *(["-m"] if as_module else []), program, *arguments]
    os.execv(sys.executable, command)


def _join(given: dict[str, object]) -> list[str]:
    """The switches in AIOTLS_OPTIONS and those that were given; together they must make sense."""
    inherited = switches.environment_words()
    try:
        words = [*inherited, *switches.read(_words(given))]
        switches.choose(words).apply(Defaults())
    except OptionError as error:
        beside = f" ({switches.VARIABLE} says {' '.join(inherited)})" if inherited else ""
        raise click.UsageError(f"{error.message}{beside}") from None
    return words


def _words(given: dict[str, object]) -> Iterator[str]:
    for switch in switches.SWITCHES:
        value = given[_parameter(switch)]
        if switch.takes == "FILE" and value:
            value = os.path.abspath(str(value))  # child processes may have another working directory
        if switch.takes and value is not None:
            yield f"{switch.word}={value}"
        elif value is True:
            yield switch.word


def _interpreter_options() -> list[str]:
    """What stands between ``python`` and the program on the command line, such as ``-X dev``."""
    kept: list[str] = []
    words = iter(sys.orig_argv[1:])
    for word in words:
        short = _SHORT_OPTIONS.fullmatch(word)
        if short is None:
            if not word.startswith("--"):
                break
            kept += [word, next(words, "")] if word == "--check-hash-based-pycs" else [word]
            continue
        flags, last, value = short.groups()
        if last in ("c", "m"):
            kept += [f"-{flags}"] if flags else []
            break
        kept += [word, next(words, "")] if last and not value else [word]
    return kept


# Letters without a value, then perhaps one that takes the rest of the word, or the next word.
_SHORT_OPTIONS = re.compile(r"-(?!-)(?=.)([^cmWX]*)(?:([cmWX])(.*))?", re.DOTALL)


def _parameter(switch: switches.Switch) -> str:
    return re.sub(r"\W", "_", switch.word.removeprefix("--"))


def _option(switch: switches.Switch) -> click.Option:
    names = [switch.word, _parameter(switch)]
    if switch.takes:
        return click.Option(names, metavar=switch.takes, help=switch.help)
    return click.Option(names, is_flag=True, help=switch.help)


run = click.Command(
    "run",
    callback=_run,
    params=[
        *map(_option, switches.SWITCHES),
        click.Option(["-m", "as_module"], is_flag=True, help="PROGRAM is the name of a module, as in python -m."),
        click.Argument(["program"]),
        click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED),
    ],
    # What stands behind the program belongs to it.
    context_settings={"allow_interspersed_args": False},
    short_help="Run a program with other defaults.",
    help="""Run a Python program with other defaults, everything else as python does it.

    The program needs no change: the defaults are there when it imports aiotls. Child processes inherit them, through
    the environment variable AIOTLS_OPTIONS, which takes the same switches; those given here are added to it. Of several
    minimum versions the lowest counts, of several maximum versions the highest.""",
)
