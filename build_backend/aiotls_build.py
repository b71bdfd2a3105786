"""The PEP 517 backend of aiotls: maturin, with the OpenSSL that `aiotls_openssl` chooses.

``AIOTLS_OPENSSL=vendored|system`` chooses the OpenSSL, ``AIOTLS_PROFILE`` the Cargo profile: ``dev`` builds fast and
runs slower.  Everything else is maturin's.
"""

import os
import sysconfig
from collections.abc import Mapping
from typing import Any

import aiotls_openssl
import maturin
from maturin import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    aiotls_openssl.check_tools()
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, _settings(config_settings))


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    os.environ.update(aiotls_openssl.environment())
    return maturin.build_wheel(wheel_directory, _settings(config_settings), metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    os.environ.update(aiotls_openssl.environment())
    return maturin.build_editable(wheel_directory, _settings(config_settings), metadata_directory)


get_requires_for_build_editable = get_requires_for_build_wheel
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def _settings(config_settings: Settings) -> dict[str, Any]:
    arguments = [*maturin.get_maturin_pep517_args(config_settings), "--locked"]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # Free-threaded Python has no limited API: the wheel is for this version alone.
        arguments.append("--no-default-features")
    if profile := os.environ.get("AIOTLS_PROFILE"):
        arguments += ["--profile", profile]
    return {"build-args": arguments}
