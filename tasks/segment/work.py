"""What travels to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.card import Card
from models.normalization import ResolvedNormalization
from tasks.jobs.instances import InstanceRules, PanopticRules
from tasks.scenes.scene import Scene
from tasks.segment.lattice import Lattice
from tasks.segment.plan import Plan

# The layer with the id of the instance at each pixel.
INSTANCES = "instances"


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that a worker needs for any block of a scene; small, frozen, pickled with every Dask task.

    Attributes:
        scene: The input's description.
        card: The model.
        card_folder: Where the card's weights lie; None for models without weights.
        plan: Tiles, blocks and precision.
        normalization: Numbers taken once for the whole scene.
        store: Folder of the block store.
        confidence: Whether the probability of the winning class is kept.
        areas: How the objects of the class map are told apart; None where they are not.
        panoptic: How the objects and classes of a panoptic model become one; None for other models.
    """

    scene: Scene
    card: Card
    card_folder: Path | None
    plan: Plan
    normalization: ResolvedNormalization | None
    store: Path
    confidence: bool = False
    areas: InstanceRules | None = None
    panoptic: PanopticRules | None = None

    @property
    def source(self) -> Scene:
        """The input itself, where blocks answer another grid than its own."""
        return getattr(self.scene, "volume", self.scene)

    @property
    def is_settled(self) -> bool:
        """Whether labels are looked at as a whole when all blocks are there."""
        return bool(self.card.largest) or self.card.labels_on_own_grid

    @property
    def lattice(self) -> Lattice:
        """The scene's tiles."""
        return self.plan.lattice(self.scene.frame)

    @property
    def label_dtype(self) -> str:
        """``uint8``, or ``uint16`` above 255 classes; the largest value means not observed."""
        return "uint8" if self.card.n_classes <= 255 else "uint16"

    @property
    def has_instances(self) -> bool:
        """Whether there is an id for the object at each pixel."""
        return self.finds_objects or self.areas is not None

    @property
    def finds_objects(self) -> bool:
        """Whether the model itself finds objects, which lie over the class map; else they are areas of it."""
        return self.plan.slot.spec.output != "scores"

    @property
    def layers(self) -> dict[str, str]:
        """Name and dtype of what blocks write into the store; of objects alone only what was observed."""
        layers = {"mask": self.label_dtype}
        return layers | {"confidence": "uint8"} if self.confidence and self._has_scores else layers

    @property
    def products(self) -> dict[str, str]:
        """Name and dtype of what users get of each pixel."""
        products = {"mask": self.label_dtype} | ({"confidence": "uint8"} if self.confidence else {})
        return products | {INSTANCES: "uint32"} if self.has_instances else products

    @property
    def _has_scores(self) -> bool:
        return self.plan.slot.spec.output != "objects"
