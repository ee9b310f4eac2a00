"""Methods that are fitted to the scene itself: once, before its first block."""

from __future__ import annotations

from importlib.metadata import version

from models.card import Card
from models.classical.card import completed, fit_arguments
from models.classical.fits import fit
from models.errors import FitError
from tasks.errors import EmptySceneError
from tasks.files.fingerprint import Fingerprint
from tasks.scenes.scene import Scene
from tasks.segment.sample import sample_features

# In a product: the card of a model that was fitted to its scene, to be used on others.
FITTED_CARD = "model.json"


def fitted_card(card: Card, scene: Scene, fingerprint: Fingerprint) -> Card:
    """Return the card with the numbers that a scene gives it; as it is, where it needs none.

    Args:
        card: Of any model.
        scene: Is looked at only where the card asks for a fit.
        fingerprint: Of the scene: says in the card what it was fitted to, without a name.

    Raises:
        EmptySceneError: When the scene has no valid pixel.
        FitError: When its values cannot carry the fit.
    """
    wanted = fit_arguments(card)
    if wanted is None:
        return card
    sample = sample_features(scene, card, wanted.sample, wanted.seed)
    if len(sample) == 0:
        raise EmptySceneError(
            f"{scene.id}: no pixel has a value of {', '.join(wanted.features)}; nothing can be fitted"
        )
    try:
        numbers = fit(wanted, sample)
    except FitError as error:
        raise FitError(f"{scene.id}: {error}") from error
    origin = f"swathe {version('swathe')}, fitted to {len(sample)} pixels of the input {fingerprint.sha256[:16]}"
    return completed(card, numbers, origin)
