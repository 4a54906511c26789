"""Packages that only some need: pyproject.toml names them in extras, and what lacks one says which."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from wkdvid.errors import UnsupportedRequest, WkdvidError


def install(extra: str) -> str:
    """The command, for messages."""
    return f"pip install 'wkdvid[{extra}]'"


def is_installed(package: str) -> bool:
    """Nothing is imported."""
    return find_spec(package) is not None


def require(package: str, extra: str, what: str, error: type[WkdvidError] = UnsupportedRequest) -> None:
    """
    Args:
        what: The begin of the message: what it is that needs the package.
    Raises:
        WkdvidError: of the type ``error``: the package is not installed.
    """
    if not is_installed(package):
        raise error(f"{what}: {install(extra)}")


def imported(module: str, extra: str, what: str, error: type[WkdvidError] = UnsupportedRequest) -> Any:
    """A module of a package that may be missing, imported when it is first needed.

    Raises:
        WkdvidError: as ``require``; or what is installed cannot be imported.
    """
    require(module.partition(".")[0], extra, what, error)
    try:
        return importlib.import_module(module)
    except ImportError as failure:
        raise error(f"{what}: {module} cannot be imported; {install(extra)}") from failure
