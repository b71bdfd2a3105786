"""The warning about what works and is less safe than it looks."""

import os
import sys
import warnings


class SecurityWarning(UserWarning):
    """Something that was asked for weakens the security, or gives secrets away."""


def warn_security(message: str) -> None:
    """Warns whoever called into aiotls, through the module `warnings`.

    Args:
        message: What is less safe, and what to do instead.
    """
    # 1 is this function.
    depth = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
        depth += 1
    warnings.warn(message, SecurityWarning, stacklevel=depth)


_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
