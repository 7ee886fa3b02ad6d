"""The optional package in C, whose sources are in native/."""

import importlib
from typing import Any, Final, TypeVar

PACKAGE: Final = "aerostack_batched_writes"

Function = TypeVar("Function")


def compiled(name: str) -> Any | None:
    """What the package calls `name`; None where it is not installed, or too old to have it."""
    try:
        return getattr(importlib.import_module(PACKAGE), name, None)
    except ImportError:
        return None


def compiled_or(fallback: Function, name: str) -> Function:
    """The package's function `name`, or the same one in Python."""
    found: Function | None = compiled(name)
    return fallback if found is None else found
