"""Every method by name: what it is, where it comes from, and which module makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

from models.errors import UnknownModelError
from models.extensions import PREDICTORS, extensions

Answer: TypeAlias = Literal["semantic", "instance", "panoptic"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One method that a card can name under ``network.name``.

    Numbers are those of the method with its default arguments, three channels and two classes; tests compare them
    with the method itself.

    Attributes:
        module: Has ``build`` and ``geometry`` where ``fitted_by`` is ``training``, else ``load``.
        answer: What it gives.
        axes: Spatial axes that it can be built with.
        purpose: What it is for, in one line.
        origin: The paper, and the library where the code is not ours.
        fitted_by: ``training`` for networks; ``scene`` for methods that look at the scene itself; ``nothing``;
            ``others`` for models that were made elsewhere.
        parameters: How many weights.
        stride: Tile lengths are multiples of it.
        receptive_field: Diameter in pixels along each axis; None where it is the whole tile.
        given: Arguments that the name itself says, so that a card does not.
        library: Distribution that makes or runs it, whose version may decide the last bits of a mask; None where that
            is torch, or where what a library found stands in the card.
    """

    module: str
    answer: Answer
    axes: tuple[int, ...]
    purpose: str
    origin: str
    fitted_by: Literal["training", "scene", "nothing", "others"] = "training"
    parameters: int | None = None
    stride: int | None = None
    receptive_field: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    library: str | None = None


CATALOGUE: dict[str, Entry] = {
    "unet": Entry(
        module="models.networks.unet",
        answer="semantic",
        axes=(2, 3),
        purpose="The first choice where little was labelled; small, and exact over tiles",
        origin="Ronneberger et al. 2015, arXiv 1505.04597; Cicek et al. 2016, arXiv 1606.06650",
        parameters=482_754,
        stride=8,
        receptive_field=103,
    ),
    "fcn32s": Entry(
        module="models.networks.fcn",
        answer="semantic",
        axes=(2,),
        purpose="Long et al.'s simplest: the scores of VGG-16, coarse borders",
        origin="Long et al. 2015, arXiv 1411.4038",
        parameters=134_285_122,
        stride=32,
        receptive_field=467,
        given={"output_stride": 32},
    ),
    "fcn16s": Entry(
        module="models.networks.fcn",
        answer="semantic",
        axes=(2,),
        purpose="One skip: borders between those of fcn32s and fcn8s",
        origin="Long et al. 2015, arXiv 1411.4038",
        parameters=134_273_924,
        stride=32,
        receptive_field=483,
        given={"output_stride": 16},
    ),
    "fcn8s": Entry(
        module="models.networks.fcn",
        answer="semantic",
        axes=(2,),
        purpose="Two skips: the classical baseline over VGG-16",
        origin="Long et al. 2015, arXiv 1411.4038",
        parameters=134_271_430,
        stride=32,
        receptive_field=491,
        given={"output_stride": 8},
    ),
    "segnet": Entry(
        module="models.networks.segnet",
        answer="semantic",
        axes=(2,),
        purpose="Thin borders at little memory: what was pooled goes back to where it was found",
        origin="Badrinarayanan et al. 2017, arXiv 1511.00561",
        parameters=29_444_162,
        stride=32,
        receptive_field=423,
    ),
    "dilated": Entry(
        module="models.networks.dilated",
        answer="semantic",
        axes=(2,),
        purpose="Context over hundreds of pixels at an eighth of the resolution",
        origin="Yu & Koltun 2016, arXiv 1511.07122",
        parameters=134_269_010,
        stride=8,
        receptive_field=923,
    ),
    "refinenet": Entry(
        module="models.networks.refinenet",
        answer="semantic",
        axes=(2,),
        purpose="Sharp borders and large context from every stage of a ResNet",
        origin="Lin et al. 2017, arXiv 1611.06612; encoder of torchvision",
        library="torchvision",
        parameters=109_751_106,
        stride=32,
        receptive_field=2973,
    ),
    "deeplabv3plus": Entry(
        module="models.networks.deeplab",
        answer="semantic",
        axes=(2,),
        purpose="Large context at a quarter of the memory; boundaries refined by a decoder",
        origin="Chen et al. 2018, arXiv 1802.02611; segmentation-models-pytorch",
        library="segmentation-models-pytorch",
        parameters=3_082_578,
        stride=16,
    ),
    "deeplabv3": Entry(
        module="models.networks.deeplabv3",
        answer="semantic",
        axes=(2,),
        purpose="Context at several scales over fine features; slower than deeplabv3plus, and smoother",
        origin="Chen et al. 2017, arXiv 1706.05587; segmentation-models-pytorch",
        library="segmentation-models-pytorch",
        parameters=39_633_986,
        stride=8,
    ),
    "pspnet": Entry(
        module="models.networks.pspnet",
        answer="semantic",
        axes=(2,),
        purpose="What a place is, from averages over the whole tile; large areas rather than borders",
        origin="Zhao et al. 2017, arXiv 1612.01105; segmentation-models-pytorch",
        library="segmentation-models-pytorch",
        parameters=29_813_314,
        stride=8,
    ),
    "fcn-resnet50": Entry(
        module="models.networks.fcn_resnet",
        answer="semantic",
        axes=(2,),
        purpose="A dilated ResNet and no more: a strong plain baseline, and exact over tiles",
        origin="Long et al. 2015, arXiv 1411.4038; torchvision",
        library="torchvision",
        parameters=32_947_266,
        stride=8,
        receptive_field=465,
    ),
    "torchscript": Entry(
        module="models.predictors.torchscript",
        answer="semantic",
        axes=(2, 3),
        purpose="Any network that was exported with torch.jit; the card says what it takes and gives",
        origin="PyTorch, TorchScript",
        fitted_by="others",
    ),
    "onnx": Entry(
        module="models.predictors.onnx_runtime",
        answer="semantic",
        axes=(2, 3),
        purpose="Any network that was exported to ONNX, from whatever framework; runs in onnxruntime",
        origin="ONNX, onnxruntime",
        library="onnxruntime",
        fitted_by="others",
    ),
    "nnunet": Entry(
        module="models.networks.nnunet",
        answer="semantic",
        axes=(2, 3),
        purpose="The U-Nets of nnU-Net v2, plain and residual, several folds as one: what its result folders become",
        origin="Isensee et al. 2021, doi 10.1038/s41592-020-01008-z; dynamic-network-architectures",
        library="dynamic-network-architectures",
        parameters=1_928_838,
        stride=8,
    ),
    "maskrcnn": Entry(
        module="models.networks.maskrcnn",
        answer="instance",
        axes=(2,),
        purpose="Objects one by one, with masks and scores: houses, trees, ships, fields, cells",
        origin="He et al. 2017, arXiv 1703.06870; torchvision",
        library="torchvision",
        parameters=43_975_515,
        stride=32,
    ),
    "panoptic-fpn": Entry(
        module="models.networks.panoptic_fpn",
        answer="panoptic",
        axes=(2,),
        purpose="Land cover and its single objects at once: fields and their trees, roads and their cars",
        origin="Kirillov et al. 2019, arXiv 1901.02446; Mask R-CNN of torchvision",
        library="torchvision",
        parameters=45_599_581,
        stride=32,
    ),
    "components": Entry(
        module="models.predictors.fakes",
        answer="instance",
        axes=(2,),
        purpose="Every connected area of one value is an object: to try the joining of objects",
        origin="swathe",
        fitted_by="nothing",
        stride=1,
    ),
    "identity": Entry(
        module="models.predictors.fakes",
        answer="semantic",
        axes=(2, 3),
        purpose="The class is the value of the first channel: to try a source and the engine",
        origin="swathe",
        fitted_by="nothing",
        stride=1,
        receptive_field=1,
    ),
    "threshold": Entry(
        module="models.classical.card",
        answer="semantic",
        axes=(2, 3),
        purpose="Fixed values that part a band, an index expression or HU into classes",
        origin="swathe",
        fitted_by="nothing",
        stride=1,
        receptive_field=1,
    ),
    "otsu": Entry(
        module="models.classical.card",
        answer="semantic",
        axes=(2, 3),
        purpose="Thresholds that part a histogram best: two to five classes of one band, index or HU",
        origin="Otsu 1979; Liao, Chen and Chung 2001; scikit-image",
        fitted_by="scene",
        stride=1,
        receptive_field=1,
    ),
    "kmeans": Entry(
        module="models.classical.card",
        answer="semantic",
        axes=(2, 3),
        purpose="So many groups of alike pixels, without labels: a first look at a new place",
        origin="Lloyd 1982; Arthur and Vassilvitskii 2007; scikit-learn",
        fitted_by="scene",
        stride=1,
        receptive_field=1,
    ),
    "gaussian-mixture": Entry(
        module="models.classical.card",
        answer="semantic",
        axes=(2, 3),
        purpose="Groups of unlike spread, with probabilities; their number may be chosen by BIC",
        origin="Dempster, Laird and Rubin 1977 (expectation maximization); Schwarz 1978; scikit-learn",
        fitted_by="scene",
        stride=1,
        receptive_field=1,
    ),
    "mean-shift": Entry(
        module="models.classical.card",
        answer="semantic",
        axes=(2, 3),
        purpose="Groups round the modes of the density; finds by itself how many there are",
        origin="Comaniciu and Meer 2002; scikit-learn",
        fitted_by="scene",
        stride=1,
        receptive_field=1,
    ),
}

# Behind the colon stands a name of the library; numbers depend on it.
FAMILIES: dict[str, Entry] = {
    "smp": Entry(
        module="models.networks.library",
        answer="semantic",
        axes=(2,),
        purpose="Any network of the library over any of its encoders, such as smp:Segformer",
        origin="segmentation-models-pytorch",
        library="segmentation-models-pytorch",
        given={"library": "smp"},
    ),
    "monai": Entry(
        module="models.networks.library",
        answer="semantic",
        axes=(2, 3),
        purpose="Any network of the library, such as monai:SegResNet or monai:SwinUNETR",
        origin="MONAI",
        library="monai",
        given={"library": "monai"},
    ),
}


def find(name: str) -> Entry:
    """Return the entry of a method; of a network of a library (``smp:Unet``) that of its library with its name given.

    Of what another package adds, which no list here names, it is made.

    Raises:
        UnknownModelError: When there is none; the text names the nearest ones.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    family, _, network = name.partition(":")
    if family in FAMILIES and network:
        entry = FAMILIES[family]
        return replace(entry, given={**entry.given, "network": network})
    if name in (added := extensions(PREDICTORS)):
        return Entry(
            module="models.predictors.added",
            answer="semantic",
            axes=(2, 3),
            purpose=f"Added by {added[name].origin}",
            origin=added[name].origin,
            fitted_by="nothing",
            library=added[name].package,
        )
    known = [*CATALOGUE, *(f"{family}:NAME" for family in FAMILIES)]
    raise UnknownModelError(f"network {name!r} is not known{nearest(name, known)}. Mend network.name in the card")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the names most like one that is not known, and then all of them, for an error's text."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    meant = f"; did you mean {' or '.join(close)}?" if close else ";"
    return f"{meant} known: {', '.join(names)}"
