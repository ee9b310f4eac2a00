"""Everything that is decided about a scene before its first block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.card import Card, ChainNormalization, GridNormalization, SceneNormalization
from models.normalization import ResolvedNormalization, resolve
from tasks.errors import ConstantSceneError, EmptySceneError
from tasks.files.fingerprint import Fingerprint
from tasks.files.room import require_room
from tasks.geometry.box import Box, split
from tasks.intake.expectation import expect
from tasks.intake.request import Request, check_instances, check_panoptic, digest
from tasks.scenes.raster.scene import RasterScene
from tasks.scenes.scene import Scene
from tasks.scenes.stated import StatedBands
from tasks.segment.fitting import fitted_card
from tasks.segment.plan import Plan, Slot, make_plan
from tasks.segment.store import BlockStore
from tasks.segment.work import Work

if TYPE_CHECKING:
    from tasks.scenes.volume.scene import VolumeScene

# Whole-scene statistics of a raster are taken from this many windows of this side, on a regular lattice.
_WINDOWS_PER_AXIS = 8
_WINDOW = 128


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A scene that can be segmented.

    Attributes:
        work: What travels to workers.
        fingerprint: Of the input.
        request_key: Of input, model and job.
        product_key: Of these and the plan but for the block: names the product's folder.
        files: Of the input by role, those that the model does not read included.
        stated: What a catalogue says of their bands.
        date: ISO 8601, of the observation, where a table or the id tells it.
        warnings: What the check said of the input.
        series: Of DICOM, which volume of its files it is; None of others.
    """

    work: Work
    fingerprint: Fingerprint
    request_key: str
    product_key: str
    files: Mapping[str, str] = field(default_factory=dict)
    stated: StatedBands = field(default_factory=dict)
    date: str | None = None
    warnings: tuple[str, ...] = ()
    series: str | None = None

    @property
    def scene(self) -> RasterScene | VolumeScene:
        """The input's description."""
        scene = self.work.source
        return scene if isinstance(scene, RasterScene) else self.volume

    @property
    def volume(self) -> VolumeScene:
        """The input's description, where it is a volume."""
        # Here and below, because jobs of rasters do not need what reads volumes.
        from tasks.scenes.volume.scene import VolumeScene

        if not isinstance(self.work.source, VolumeScene):
            raise TypeError(f"{self.work.scene.id} is not a volume")
        return self.work.source


def prepare(
    request: Request, scene: RasterScene | VolumeScene, fingerprint: Fingerprint, slot: Slot, n_slots: int
) -> Prepared:
    """Fit the plan, and a model that asks for it, to a scene, take its statistics and make its block store.

    Raises:
        PlanError: When tiling, model and scene do not go together.
        EmptySceneError: When statistics are wanted and nothing was observed.
        FitError: When the scene's values cannot carry what shall be fitted to them.
    """
    card = fitted_card(request.card, scene, fingerprint)
    slot = replace(slot, spec=replace(slot.spec, n_classes=card.n_classes))
    answered = _answered(scene, card)
    plan = make_plan(request.job, request.card, frame=answered.frame, slot=slot, n_slots=n_slots)
    request_key = request.key(fingerprint.sha256)
    product_key = _product_key(request_key, plan, None if card is request.card else card)
    if request.job.tiling.block == "auto":
        plan = replace(plan, block=_begun_block(request, scene.id, product_key) or plan.block)
    work = Work(
        scene=answered,
        card=card,
        card_folder=request.card_folder,
        plan=plan,
        normalization=_resolve(request, scene),
        store=request.out.work(scene.id, _work_key(product_key, plan.block)) / "blocks",
        confidence=request.job.output.confidence,
        areas=check_instances(request.job, card, None if isinstance(scene, RasterScene) else tuple(scene.spacing_mm)),
        panoptic=check_panoptic(request.job, card),
    )
    shape = answered.frame.native_shape
    require_room(request.out.root, expect(shape, card, len(work.layers)).disk_bytes, scene.id)
    BlockStore(work.store).create(shape, plan.block, plan.chunk, work.layers)
    return Prepared(work=work, fingerprint=fingerprint, request_key=request_key, product_key=product_key)


def require_variation(scene: RasterScene | VolumeScene) -> None:
    """Refuse a scene that holds one value everywhere, where the check could not look at all of it.

    Raises:
        ConstantSceneError: When every channel is one value, over all that whole-scene statistics look at; of a raster
            of one band that may be right.
        EmptySceneError: When nothing was observed.
    """
    if isinstance(scene, RasterScene):
        if scene.n_channels == 1:
            return
        values = sampled_pixels(scene)
    else:
        from tasks.scenes.volume.scene import scene_values

        values = scene_values(scene)
    if values.shape[1] > 1 and (values == values[:, :1]).all():
        shown = ", ".join(f"{value:g}" for value in values[:, 0])
        raise ConstantSceneError(f"{scene.id}: every value is {shown}: there is nothing to segment")


def _answered(scene: RasterScene | VolumeScene, card: Card) -> Scene:
    """Return the scene whose grid blocks answer: a volume's own, or the one that the network sees of it."""
    if isinstance(scene, RasterScene) or not card.labels_on_own_grid:
        return scene
    from tasks.scenes.volume.model_grid import ModelGrid

    return ModelGrid(scene)


def _product_key(request_key: str, plan: Plan, fitted: Card | None) -> str:
    facts = {"request": request_key, "plan": plan.identity()}
    # Another version of the library that fits may find other numbers.
    return digest(facts if fitted is None else {**facts, "fitted": fitted.model_dump(mode="json")})


def _work_key(product_key: str, block: tuple[int, ...]) -> str:
    return digest({"product": product_key, "block": block})


def _begun_block(request: Request, scene_id: str, product_key: str) -> tuple[int, ...] | None:
    """Return the block of work begun on the same product: a restart with other workers goes on with it."""
    for folder in sorted(request.out.scene_scratch(scene_id).glob("*/blocks")):
        block = BlockStore(folder).block
        if block is not None and folder.parent.name == _work_key(product_key, block):
            return block
    return None


def _resolve(request: Request, scene: RasterScene | VolumeScene) -> ResolvedNormalization | None:
    wanted = request.card.normalization
    if not isinstance(wanted, ChainNormalization | GridNormalization | SceneNormalization):
        return resolve(wanted, np.zeros((request.card.n_channels, 0), np.float32))
    if isinstance(scene, RasterScene):
        return resolve(wanted, sampled_pixels(scene))
    from tasks.scenes.volume.scene import model_values, scene_values

    return resolve(wanted, scene_values(scene) if isinstance(wanted, SceneNormalization) else model_values(scene))


def sampled_pixels(scene: RasterScene) -> NDArray[np.float32]:
    """Read windows on a regular lattice of the scene: the same pixels whatever the plan."""
    shape = scene.frame.model_shape
    steps = tuple(max(_WINDOW, -(-n // _WINDOWS_PER_AXIS)) for n in shape)
    samples = []
    with scene.open() as reader:
        for cell in split(shape, steps):
            stop = tuple(min(a + _WINDOW, b) for a, b in zip(cell.start, cell.stop, strict=True))
            image, observed = reader.read(Box(cell.start, stop))
            samples.append(image[:, observed])
    values = np.concatenate(samples, axis=1)
    if values.shape[1] == 0:
        raise EmptySceneError(f"{scene.id}: none of the sampled windows holds an observed pixel")
    return values


def plan_summary(plan: Plan) -> str:
    """Say in one line what was chosen, for the terminal and the log."""
    settings, name = plan.slot.settings, plan.slot.device_name
    tile, halo, overlap = ("x".join(map(str, part)) for part in (plan.tile, plan.halo, plan.overlap))
    return (
        f"{settings.dtype} on {settings.device} ({name}), {settings.threads} threads per slot, batch {settings.batch}; "
        f"tile {tile}, halo {halo}, overlap {overlap}, block {'x'.join(map(str, plan.block))}, {plan.blend}"
    )
