"""The root of the error tree, and what can go wrong with a model.

SwatheError
├── ExtensionError             what another package adds cannot be used
└── ModelError
    ├── UnknownModelError      a name that is in no registry
    ├── CardError              a model card that cannot be read or contradicts its weights
    ├── WeightsError           weights whose hash, names or shapes are not those of the card
    ├── ExpressionError        an index expression that cannot be parsed
    ├── FitError               a scene to which a method cannot be fitted
    └── DeviceError            a device that is not there or has too little memory
"""

from models.printable import printable


class SwatheError(Exception):
    """Something a user can mend; its text says what, where and how.

    Args:
        text: May hold what others wrote, such as the names of files: it is made fit to be shown.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text, lines=True))


class ExtensionError(SwatheError):
    """What an installed package adds cannot be used."""


class ModelError(SwatheError):
    """A model cannot be used as asked."""


class UnknownModelError(ModelError):
    """No model of that name is known."""


class CardError(ModelError):
    """A model card is not readable or contradicts its weights."""


class WeightsError(ModelError):
    """Weights do not belong to their card."""


class ExpressionError(ModelError):
    """An index expression cannot be parsed, or names what is not there."""


class FitError(ModelError):
    """The values of a scene cannot carry what shall be fitted to them."""


class DeviceError(ModelError):
    """The device asked for is not there or too small."""
