"""The file of a key log for a whole process, opened so that the secrets in it reach nobody else."""

import errno
import os
import stat

from .errors import OptionError


def open_key_log(path: str, option: str) -> int:
    """Opens a file to append secrets to; from now on its owner only may read it.

    Args:
        path: The name of the file.
        option: What named it; errors do so too.

    Returns:
        A descriptor, which programs that are started do not inherit.

    Raises:
        OptionError: It cannot be opened, or secrets must not be written there: it is no regular file, belongs to
            somebody else, or has a second name.
    """
    try:
        fd = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise OptionError(
            f"{option}: cannot open {path!r}: {_advice(error, path)}",
            option=option,
            code=errno.errorcode.get(error.errno or 0, ""),
            errno=error.errno,
        ) from None
    objection = _objection(os.fstat(fd))
    if objection:
        os.close(fd)
        raise OptionError(f"{option}: no key log is written to {path!r}: {objection}", option=option)
    os.fchmod(fd, 0o600)
    return fd


def _advice(error: OSError, path: str) -> str:
    if os.path.islink(path):
        return "it is a symbolic link; name the file itself"
    if error.errno == errno.ENXIO:
        return "it is no regular file"
    return error.strerror or "unknown error"


def _objection(status: os.stat_result) -> str | None:
    """Why secrets should not be written to a file that is there."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if status.st_uid != os.geteuid():
        return "it belongs to another user; remove it, or name another file"
    if status.st_nlink > 1:
        return "it has a second name (a hard link); name another file"
    return None


# A link that somebody else has put there is not followed, and a pipe that nobody reads does not stop us.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
