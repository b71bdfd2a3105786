"""Environment variables, which count only for a program that runs with no more rights than whoever started it."""

import os


def variable(name: str) -> str | None:
    """The value of an environment variable.

    Args:
        name: Its name.

    Returns:
        None where it is not set or empty, and in a program with the rights of another user or group: whoever starts one
        must not choose whom it trusts, or where its secrets go (secure_getenv(3)).
    """
    if os.getuid() != os.geteuid() or os.getgid() != os.getegid():
        return None
    return os.environ.get(name) or None
