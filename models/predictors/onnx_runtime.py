"""ONNX graphs as predictors."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.card import Card
from models.errors import CardError, DeviceError, WeightsError
from models.networks.geometry import Geometry
from models.predictor import PredictorSpec
from models.predictors.networks import spec_of
from models.predictors.program import program_geometry, read_program, require_output
from models.run_settings import Device, RunSettings

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_SMALLEST_PROBABILITY = np.float32(1e-30)
# What onnxruntime raises has no common class of its own but these.
ERRORS = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


class OnnxPredictor:
    """A ``Predictor`` round an ONNX graph that maps ``(1, channels, *tile)`` to scores; in float32.

    Args:
        session: The graph, made ready.
        card: Of the graph.
        geometry: As the card states it.
        settings: How to run it.

    Raises:
        CardError: When the tile does not fit the graph.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, card: Card, geometry: Geometry, settings: RunSettings
    ) -> None:
        self._session = session
        self._card = card
        stated = session.get_inputs()[0].shape[2:]
        only_tile = settings.tile[-len(stated) :] if any(isinstance(length, int) for length in stated) else None
        self._spec = spec_of(card, replace(geometry, only_tile=only_tile))
        self._settings = settings
        self._ndim = len(geometry.stride)
        self._margin = geometry.margin
        self._input = session.get_inputs()[0].name
        self._check_tile()
        # Each tile alone, so that its sums are its own whatever is beside it.
        self._side_by_side = ThreadPoolExecutor(settings.batch, "tile")

    @property
    def spec(self) -> PredictorSpec:
        """What the graph needs and gives."""
        return self._spec

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score ``(tiles, channels, *tile)``; float32 on the host."""
        sliced = self._ndim < self._spec.ndim
        images = np.ascontiguousarray(batch.squeeze(2) if sliced else batch)
        scores = np.concatenate(list(self._side_by_side.map(self._pass, np.split(images, len(images)))))
        return scores[:, :, np.newaxis] if sliced else scores

    def probe(self) -> int:
        """Run a tile of the planned shape; its bytes are not told.

        Raises:
            CardError: When the graph does not take it, or gives something else than the card says.
        """
        tile = self._settings.tile[-self._ndim :]
        try:
            scores = self._run(np.zeros((1, self._card.n_inputs, *tile), np.float32))
        except ERRORS as error:
            raise CardError(
                f"{self._card.name}: the graph does not take {self._card.n_inputs} channels of {tile}: "
                f"{str(error).splitlines()[0]}. Mend channels, network.arguments or tiling in the card"
            ) from error
        require_output(self._card, tile, scores.shape, self._margin)
        return 0

    def _pass(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        raw = self._run(image)
        if self._card.network.output == "logit":
            raw = np.concatenate([np.zeros_like(raw), raw], axis=1)
        softmax = self._settings.activation == "softmax"
        if self._card.network.output == "probabilities":
            return raw if softmax else np.log(np.maximum(raw, _SMALLEST_PROBABILITY))
        return _softmax(raw) if softmax else raw

    def _run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self._session.run(None, {self._input: image})[0]
        return scores

    def _check_tile(self) -> None:
        tile = self._settings.tile
        if len(tile) != self._spec.ndim or any(t % s for t, s in zip(tile, self._spec.stride, strict=True)):
            raise CardError(f"tile {tile} does not fit: its lengths must be multiples of {self._spec.stride}")


def load(card: Card, path: Path, settings: RunSettings) -> OnnxPredictor:
    """Make an ONNX graph ready.

    Args:
        card: ``network.arguments`` are ``ProgramArguments``.
        path: The file, of the card's hash; weights lie in it, not beside it.
        settings: How to run it.

    Raises:
        CardError: When the card says something else than the graph does, or another dtype is asked for.
        WeightsError: When the file is not there, not the card's, or no ONNX.
        DeviceError: When the installed onnxruntime does not know the device.
    """
    if settings.dtype != "float32":
        raise CardError(f"{card.name}: an ONNX graph runs as it was exported; set run.dtype to auto or float32")
    geometry = program_geometry(card)
    session = open_session(path.name, read_program(card, path), settings)
    _require_inputs(card, session, settings.tile[-len(geometry.stride) :])
    return OnnxPredictor(session, card, geometry, settings)


def reachable(device: Device) -> Literal["cpu", "cuda"]:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` is for the installed onnxruntime.

    Raises:
        DeviceError: When it does not know it.
    """
    known = onnxruntime.get_available_providers()
    if device == "auto":
        return "cuda" if _PROVIDERS["cuda"] in known else "cpu"
    if _PROVIDERS[device] not in known:
        raise DeviceError(f"the installed onnxruntime does not run on {device!r}; take auto, or install one that does")
    return device


def open_session(name: str, content: bytes, settings: RunSettings) -> onnxruntime.InferenceSession:
    """Make a graph ready to run.

    Args:
        name: Of the file, for errors.
        content: Its bytes.
        settings: Device and threads.

    Raises:
        WeightsError: When it is no ONNX, or needs files beside it.
        DeviceError: When the installed onnxruntime does not know the device.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    # Warnings about nodes that are placed on the CPU say nothing that a user could mend, and errors are raised.
    options.log_severity_level = 4
    # Else weights that lie beside the graph would be read from wherever the process happens to be, without a hash.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(content, options, providers=[_PROVIDERS[reachable(settings.device)]])
    except ERRORS as error:
        if "external" in str(error).casefold():
            raise WeightsError(
                f"{name}: keeps its weights in a file beside it, which no hash of the card covers. Put them inside: "
                f'onnx.save_model(onnx.load("{name}"), "whole.onnx", save_as_external_data=False), or export with '
                "torch.onnx.export(..., external_data=False); then write the new hash into the card"
            ) from error
        raise WeightsError(
            f"{name}: not an ONNX graph with its weights inside that onnxruntime {onnxruntime.__version__} can run: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _require_inputs(card: Card, session: onnxruntime.InferenceSession, tile: tuple[int, ...]) -> None:
    inputs: list[Any] = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        told = ", ".join(f"{entry.name}: {entry.type}" for entry in inputs)
        raise CardError(f"{card.name}: the graph takes {told}; one input of float32 is what can be given")
    wanted, stated = (1, card.n_inputs, *tile), tuple(inputs[0].shape)
    if len(stated) != len(wanted) or any(isinstance(s, int) and s != w for s, w in zip(stated, wanted, strict=True)):
        raise CardError(
            f"{card.name}: the graph takes arrays of shape {stated}, it would be given {wanted}: export it with "
            "dynamic axes, or set channels, tiling.tile and network.arguments in the card to what it takes"
        )


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
