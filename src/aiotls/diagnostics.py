"""What a whole process tells of its connections because it was started so: a key log in a file, a trace."""

import sys
import threading

from . import _native
from .environment import variable
from .key_log import open_key_log
from .security_warning import warn_security
from .switches import taken


def begin() -> None:
    """Starts what the switches and SSLKEYLOGFILE ask for; called when a context is made, it acts on the first one.

    Raises:
        OptionError: The key log cannot be written; see `open_key_log`.
    """
    if _begun.is_set():
        return
    with _lock:
        if _begun.is_set():
            return
        said = [*_begin_key_log(), *_begin_trace()]
        _begun.set()
    # Not under the lock: who shows warnings may make a context for it.
    for words in said:
        warn_security(words)


def _begin_key_log() -> list[str]:
    option, path = "--tls-keylog", taken().key_log
    # Python's own ssl does not look at it either where the environment is to be ignored.
    if path is None and not sys.flags.ignore_environment:
        option, path = "SSLKEYLOGFILE", variable("SSLKEYLOGFILE")
    if not path:
        return []
    _native.set_keylog_fd(open_key_log(path, option))
    return [f"{option}: whoever reads {path!r} can decrypt the connections of this process"]


def _begin_trace() -> list[str]:
    if not taken().trace:
        return []
    _native.trace_everything()
    return ["--trace-tls: the trace on the error stream can expose sensitive data"]


_lock = threading.Lock()
_begun = threading.Event()
