"""Any network of segmentation-models-pytorch (``smp:Segformer``) and MONAI (``monai:SegResNet``) by its own name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from models.catalogue import nearest
from models.errors import CardError, UnknownModelError
from models.networks.geometry import Geometry

_MODULES = {"smp": "segmentation_models_pytorch", "monai": "monai.networks.nets"}
_CHANNELS = ("in_channels",)
_CLASSES = ("out_channels", "classes", "num_classes")
# What would be fetched while a network is built, and what keeps a constructor from it.
_FETCHED: dict[str, bool | None] = {"encoder_weights": None, "pretrained": False, "weights": None}
# What says where from; a constructor that has one fetches whatever it is told.
_SOURCES = ("path_or_repo_id", "filename", "checkpoint_path")
_REFUSALS = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError, ImportError)
# Multiples of every likely stride by different primes, so that what is pooled to a fixed size is told apart.
_PROBED = (128 * 11, 128 * 13, 128 * 17)
_LAYERS = (nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)


class LibraryArguments(BaseModel):
    """What a card says about a network of a library; whatever else it says goes to the network's own constructor.

    Attributes:
        library: Given by the name.
        network: Given by the name.
        stride: What lengths of tiles must be multiples of, one number or one per axis; where left out it is found by
            following shapes through the layers.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    library: Literal["smp", "monai"]
    network: str
    stride: int | tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """As it stands in a card."""
        return f"{self.library}:{self.network}"

    @property
    def own(self) -> dict[str, Any]:
        """What goes to the network's constructor."""
        return dict(self.model_extra or {})


def constructors(library: str) -> dict[str, type[nn.Module]]:
    """Return what in a library can be built from numbers of channels and classes, by name."""
    module = import_module(_MODULES[library])
    # MONAI has each network under several spellings.
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and name == value.__name__
        and issubclass(value, nn.Module)
        and _channel_names(value) is not None
    }


def constructor(library: str, network: str) -> type[nn.Module]:
    """Return the constructor of a network.

    Raises:
        UnknownModelError: When the library has none of that name; the text names the nearest ones.
    """
    known = constructors(library)
    if network not in known:
        raise UnknownModelError(
            f"{library} has no network {network!r}{nearest(network, known)}. Mend network.name in the card"
        )
    return known[network]


def build(n_channels: int, n_classes: int, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network with random weights; of several outputs the first is kept.

    Raises:
        UnknownModelError: When the library has none of that name.
        CardError: When it cannot be built from these arguments.
    """
    settings = LibraryArguments.model_validate(arguments)
    kind = constructor(settings.library, settings.network)
    _check_arguments(settings, kind)
    names = _channel_names(kind)
    if names is None:
        raise CardError(f"{settings.name} does not say how many channels and classes it has")
    # Both libraries fetch weights if nothing is said, and smp for timm's encoders also if False is.
    silent = {name: value for name, value in _FETCHED.items() if name in inspect.signature(kind).parameters}
    try:
        network = kind(**{**settings.own, **silent, names[0]: n_channels, names[1]: n_classes})
    except _REFUSALS as error:
        raise CardError(f"{settings.name} cannot be built from {settings.own}: {_text(error)}") from error
    network.register_forward_hook(_keep_first)
    return network


def geometry(arguments: Mapping[str, Any]) -> Geometry:
    """Return the stride as stated or as found; what a score depends on is not known, so it may be the whole tile.

    Raises:
        UnknownModelError: When the library has none of that name.
        CardError: When the network cannot be built, or gives no scores of the size of its image.
    """
    LibraryArguments.model_validate(arguments)
    return _probe(json.dumps(dict(arguments), sort_keys=True, default=list))


@cache
def _probe(arguments: str) -> Geometry:
    settings = LibraryArguments.model_validate_json(arguments)
    with torch.random.fork_rng(devices=[]):
        network = build(1, 2, json.loads(arguments)).eval().to("meta")
    ndim = _ndim(settings, network)
    stated = settings.stride if not isinstance(settings.stride, int) else (settings.stride,) * ndim
    if stated is not None and len(stated) != ndim:
        raise CardError(f"{settings.name} has {ndim} axes: stride has {len(stated)} numbers")
    if stated is not None:
        return Geometry(
            stride=stated, receptive_field=None, margin=(0,) * ndim, only_tile=_only_tile(settings, network, stated)
        )
    _check_steps(settings, network)
    return Geometry(
        stride=_stride(_PROBED[:ndim], _shapes(settings, network, _PROBED[:ndim])),
        receptive_field=None,
        margin=(0,) * ndim,
    )


def _only_tile(settings: LibraryArguments, network: nn.Module, stride: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return an image of two strides where the network takes that one alone, such as one of transformers may."""
    two, three = (tuple(n * step for step in stride) for n in (2, 3))
    _shapes(settings, network, two)
    try:
        _shapes(settings, network, three)
    except CardError:
        return two
    return None


def _shapes(settings: LibraryArguments, network: nn.Module, lengths: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Return the shapes that leave convolutions and poolings, without computing a number."""
    seen: set[tuple[int, ...]] = set()

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        seen.add(tuple(output.shape[2:]))

    for layer in network.modules():
        if isinstance(layer, _LAYERS):
            layer.register_forward_hook(note)
    try:
        with torch.inference_mode():
            scores = network(torch.empty((1, 1, *lengths), device="meta"))
    except (*_REFUSALS, NotImplementedError) as error:
        raise CardError(
            f"{settings.name} does not run on an image of {lengths}: {_text(error)}. State a stride of which two make "
            "an image that it takes, among network.arguments; one that takes a single size cannot be tiled"
        ) from error
    if not isinstance(scores, Tensor) or tuple(scores.shape) != (1, 2, *lengths):
        raise CardError(f"{settings.name} is no segmentation network: it gives no score for each pixel of its image")
    return seen


def _check_steps(settings: LibraryArguments, network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, _LAYERS):
            steps = (layer.stride,) if isinstance(layer.stride, int) else tuple(layer.stride or (1,))
            if odd := [step for step in steps if step & (step - 1)]:
                raise CardError(
                    f"{settings.name} has a layer of stride {odd[0]}, no power of two: "
                    "state the stride of all layers together among network.arguments"
                )


def _stride(lengths: tuple[int, ...], seen: set[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the coarsest grid that any layer works on, in pixels; what is pooled to a fixed size is none."""
    stride = []
    for axis, length in enumerate(lengths):
        ratios = {length // shape[axis] for shape in seen if shape[axis] and length % shape[axis] == 0}
        stride.append(max([1, *(ratio for ratio in ratios if ratio & (ratio - 1) == 0)]))
    return tuple(stride)


def _ndim(settings: LibraryArguments, network: nn.Module) -> int:
    if settings.library == "smp":
        return 2
    return 3 if any(isinstance(layer, nn.Conv3d) for layer in network.modules()) else 2


def _keep_first(network: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:  # noqa: ANN401 - the library's
    """Return the finest scores alone; while the network is fitted, those of all depths."""
    if network.training:
        # Beside scores some return losses of their own, which are no answer.
        return [one for one in output if one.ndim == inputs[0].ndim] if isinstance(output, list | tuple) else output
    if isinstance(output, list | tuple):
        return output[0]
    # Deep supervision may stack its heads behind the batch.
    return output[:, 0] if output.ndim > inputs[0].ndim else output


def _channel_names(kind: type[nn.Module]) -> tuple[str, str] | None:
    parameters = inspect.signature(kind).parameters
    channels = [name for name in _CHANNELS if name in parameters]
    classes = [name for name in _CLASSES if name in parameters]
    return (channels[0], classes[0]) if channels and classes else None


def _check_arguments(settings: LibraryArguments, kind: type[nn.Module]) -> None:
    parameters = inspect.signature(kind).parameters
    said = sorted({*_CHANNELS, *_CLASSES} & settings.own.keys() & parameters.keys())
    if said:
        raise CardError(f"{settings.name}: leave out {', '.join(said)}; channels and classes of the card say it")
    _check_nothing_is_fetched(settings, parameters)
    known = own_parameters(kind)
    for name in settings.own:
        silent = name in _FETCHED and name in parameters
        if name not in known and not silent and not (_is_timm(settings) and "kwargs" in parameters):
            raise CardError(f"{settings.name} takes no argument {name!r}{nearest(name, known)}")
    missing = [name for name in known.keys() - settings.own.keys() if known[name].default is inspect.Parameter.empty]
    if missing:
        raise CardError(f"{settings.name} needs {', '.join(sorted(missing))} among network.arguments")


def _check_nothing_is_fetched(settings: LibraryArguments, parameters: Mapping[str, inspect.Parameter]) -> None:
    if fetched := [name for name in (*_FETCHED, *_SOURCES) if settings.own.get(name)]:
        raise CardError(
            f"{settings.name}: {fetched[0]} would be fetched from outside; leave it out, and bring weights as a file"
        )
    if ":" in str(settings.own.get("encoder_name", "")):
        raise CardError(
            f"{settings.name}: encoder_name {settings.own['encoder_name']!r} would be fetched from outside; take an "
            "encoder that timm has under its own name, and bring weights as a file"
        )
    if sources := [name for name in _SOURCES if name in parameters]:
        raise CardError(
            f"{settings.name} fetches what {' and '.join(sources)} name whenever it is built; it cannot be built here"
        )


def own_parameters(kind: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """Return what a card can say to a constructor, by name."""
    open_ended = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    spoken_for = {*_CHANNELS, *_CLASSES, *_FETCHED}
    parameters = inspect.signature(kind).parameters.items()
    return {name: value for name, value in parameters if name not in spoken_for and value.kind not in open_ended}


def _is_timm(settings: LibraryArguments) -> bool:
    # Only these encoders take arguments of their own.
    return str(settings.own.get("encoder_name", "")).startswith("tu-")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
