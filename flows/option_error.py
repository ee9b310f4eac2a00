"""Values of options that are not allowed, told by the names that stand on the command line."""

from __future__ import annotations

from pydantic import ValidationError

from models.errors import SwatheError
from models.validation import explained

# What command lines are made into, by the names of their classes: those bring Prefect, which takes seconds.
_ORDERS = ("Batch", "Submission", "Nightly")
_OPTIONS = {"overrides": "--set", "inputs": "INPUT"}


class OptionError(SwatheError):
    """An option of a command has a value that is not allowed."""


def concerns_options(error: ValidationError) -> bool:
    """Tell whether it is about what a command line was made into."""
    return error.title in _ORDERS


def option_error(error: ValidationError) -> OptionError:
    """Return what is wrong with a command line."""
    text = explained(error)
    for field in {str(item["loc"][0]) for item in error.errors() if item["loc"]}:
        text = text.replace(f"'{field}'", _OPTIONS.get(field, f"--{field.replace('_', '-')}"))
    return OptionError(text)
