"""A real network through the engine: the same bits for every block, and tiled equals untiled."""

from pathlib import Path

import numpy as np
import pytest
import torch
from arrays import array_scene, make_work, read_mask

from models.card import Card, ClassEntry, Network, NoNormalization, Tiling
from models.device import supported_dtypes
from models.networks.builders import build_network, network_geometry
from models.registry import ZOO, resolve_model
from models.weights.files import write_model
from tasks.geometry.frame import Frame
from tasks.segment.graph import PlainEngine


def segment(work) -> np.ndarray:
    list(PlainEngine().run_blocks(work, work.plan.blocks(work.scene.frame)))
    return np.stack([read_mask(work), read_mask(work, "confidence")])


def small_unet(folder: Path, ndim: int, *, position: bool = False, **arguments: object) -> Card:
    """A network of random weights whose scores are decided by a neighbourhood smaller than the halo."""
    axes = (1,) * ndim
    template = Card(
        name="small",
        title="small",
        kind="raster" if ndim == 2 else "volume",
        network=Network(name="unet", arguments={"widths": [4, 8], "ndim": ndim} | arguments),
        channels=("a",) if ndim == 3 else ("a", "b"),
        classes=tuple(ClassEntry(name=name, colour="#000000") for name in ("x", "y", "z")),
        normalization=NoNormalization(),
        tiling=Tiling(tile=(64,) * ndim, halo=axes, overlap=axes),
        licence="Apache-2.0",
        origin="test",
        orientation=None if ndim == 2 else "SAR",
        position=position,
    )
    torch.manual_seed(2)
    network = build_network(template.network, template.n_inputs, template.n_classes)
    for value in network.parameters():
        if value.ndim > 1:
            # As built, features fade from layer to layer: one class everywhere, whatever lies far off.
            torch.nn.init.kaiming_normal_(value)
    return write_model(folder, template, network.state_dict())


# In every precision that this processor computes in; elsewhere bfloat16 is refused by name.
@pytest.mark.parametrize("dtype", supported_dtypes(torch.device("cpu")))
def test_the_shipped_unet_gives_the_same_bits_for_every_block(tmp_path, dtype):
    card, folder = resolve_model("fire-unet")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(card.n_channels, 1200, 700)) * np.array(card.normalization.std)[:, None, None]
    image = (values + np.array(card.normalization.mean)[:, None, None]).astype(np.float32)
    valid = np.ones(image.shape[1:], bool)
    valid[:300, :200] = False
    scene = array_scene(tmp_path, image, valid)
    masks = [
        segment(
            make_work(
                scene,
                tmp_path / f"store-{block}",
                card,
                folder,
                tiling={"tile": 256, "halo": 16, "overlap": 32, "block": block},
                dtype=dtype,
            )
        )
        for block in (512, 1024, 2048)
    ]
    assert set(np.unique(masks[0][0][valid])) <= {0, 1}
    assert (masks[0][0][~valid] == 255).all()
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


@pytest.mark.parametrize("shape", [(255, 1), (256, 256), (257, 300), (515, 190)])
@pytest.mark.parametrize("blend", ["gaussian", "core", "logits"])
def test_tiled_equals_untiled_where_the_halo_covers_the_receptive_field(tmp_path, shape, blend):
    card = small_unet(tmp_path / "model", 2)
    geometry = network_geometry(card.network)
    halo = -(-geometry.receptive_field[0] // 2)
    step = geometry.stride[0]
    image = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    scene = array_scene(tmp_path, image)
    tile = -(-(2 * halo + 48) // step) * step
    tiled = segment(
        make_work(
            scene,
            tmp_path / "tiled",
            card,
            tmp_path / "model",
            tiling={"tile": tile, "halo": halo, "overlap": 8, "blend": blend},
        )
    )
    whole = -(-max(shape) // step) * step
    untiled = segment(
        make_work(
            scene,
            tmp_path / "untiled",
            card,
            tmp_path / "model",
            tiling={"tile": whole, "halo": 0, "overlap": 0, "blend": blend},
        )
    )
    np.testing.assert_array_equal(tiled[0], untiled[0])
    np.testing.assert_allclose(tiled[1].astype(int), untiled[1].astype(int), atol=1)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 9), (1, 1, 1), (2, 1, 2)])
@pytest.mark.parametrize("halo", [0, 1])
def test_instance_norm_takes_scenes_smaller_than_its_coarsest_grid(tmp_path, shape, halo):
    card = small_unet(tmp_path / "model", len(shape), norm="instance")
    n_channels = card.n_channels
    scene = array_scene(tmp_path, np.random.default_rng(1).normal(size=(n_channels, *shape)).astype(np.float32))
    tiling = {"halo": halo, "overlap": halo}
    tiled = segment(make_work(scene, tmp_path / "store", card, tmp_path / "model", tiling=tiling))
    assert tiled.shape == (2, *shape)
    assert set(np.unique(tiled[0])) <= {0, 1, 2}


@pytest.mark.parametrize("widths", [[4, 8], [4, 4, 8], [2, 2, 2, 2, 2]])
@pytest.mark.parametrize("shape", [(1, 97), (190, 130)])
@pytest.mark.parametrize("blend", ["gaussian", "core"])
def test_a_network_without_padding_is_tiled_by_its_margin_alone(tmp_path, widths, shape, blend):
    card = small_unet(tmp_path / "model", 2, widths=widths, padding="valid", norm="none")
    geometry = network_geometry(card.network)
    margin, step = geometry.margin[0], geometry.stride[0]
    scene = array_scene(tmp_path, np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32))
    beyond = -(-margin // step) * step
    masks = []
    for tile, block in ((2 * beyond + 48, 512), (-(-max(shape) // step) * step + 2 * beyond, 1024)):
        overlap = [8, 8] if tile == 2 * beyond + 48 else [0, 0]
        tiling = {"tile": tile, "halo": [0, 0], "overlap": overlap, "blend": blend}
        store = tmp_path / f"store-{tile}"
        masks.append(segment(make_work(scene, store, card, tmp_path / "model", tiling=tiling | {"block": block})))
    np.testing.assert_array_equal(masks[0][0], masks[1][0])
    np.testing.assert_allclose(masks[0][1].astype(int), masks[1][1].astype(int), atol=1)
    assert len(np.unique(masks[0])) > 2


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pspnet", {"encoder": "resnet18", "decoder": 8, "depth": 3}),
        ("deeplabv3", {"encoder": "resnet18", "decoder": 8}),
        ("deeplabv3plus", {"decoder": 8}),
        ("smp:Segformer", {"encoder_name": "mit_b0", "decoder_segmentation_channels": 8}),
    ],
)
def test_a_network_that_sees_the_whole_tile_has_the_same_bits_for_every_block(tmp_path, name, arguments):
    plain = small_unet(tmp_path / "model", 2)
    card = plain.model_copy(update={"network": Network(name=name, arguments=arguments)})
    assert network_geometry(card.network).receptive_field is None
    card = write_model(tmp_path / "model", card, build_network(card.network, 2, 3).state_dict())
    scene = array_scene(tmp_path, np.random.default_rng(1).normal(size=(2, 600, 190)).astype(np.float32))
    tiling = {"tile": [256, 256], "halo": [32, 32], "overlap": [32, 32]}
    masks = [
        segment(make_work(scene, tmp_path / str(block), card, tmp_path / "model", tiling=tiling | {"block": block}))
        for block in (512, 1024)
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    whole = {"tile": [608, 192], "halo": [0, 0], "overlap": [0, 0]}
    untiled = segment(make_work(scene, tmp_path / "untiled", card, tmp_path / "model", tiling=whole))
    # So a card states the disagreement that was measured: no halo would make them equal.
    assert (masks[0] != untiled).any()


@pytest.mark.parametrize("depth", [1, 9])
def test_a_volume_without_padding_is_tiled_by_its_margin_alone(tmp_path, depth):
    card = small_unet(tmp_path / "model", 3, strides=[[1, 2, 2]], padding="valid", norm="none")
    scene = array_scene(tmp_path, np.random.default_rng(1).normal(size=(1, depth, 40, 27)).astype(np.float32))
    margin = network_geometry(card.network).margin
    assert margin == (2, 8, 8)
    masks = []
    for tile in ([7, 32, 32], [depth + 4, 56, 56]):
        tiling = {"tile": tile, "halo": [0, 0, 0], "overlap": [0, 0, 0]}
        masks.append(segment(make_work(scene, tmp_path / str(tile), card, tmp_path / "model", tiling=tiling)))
    np.testing.assert_array_equal(masks[0][0], masks[1][0])


@pytest.mark.parametrize("pooling", [[2, 2, 2], [1, 2, 2]])
def test_a_volume_with_padding_tiled_equals_untiled_where_the_halo_covers_the_receptive_field(tmp_path, pooling):
    card = small_unet(tmp_path / "model", 3, strides=[pooling])
    geometry = network_geometry(card.network)
    halo = [-(-(field // 2) // step) * step for field, step in zip(geometry.receptive_field, pooling, strict=True)]
    scene = array_scene(tmp_path, np.random.default_rng(1).normal(size=(1, 33, 40, 27)).astype(np.float32))
    masks = {}
    for name, tiling in (
        ("tiled", {"tile": [2 * side + 8 for side in halo], "halo": halo, "overlap": [2, 2, 2]}),
        ("untiled", {"tile": [34, 40, 28], "halo": [0, 0, 0], "overlap": [0, 0, 0]}),
        ("without a halo", {"tile": [2 * side + 8 for side in halo], "halo": [0, 0, 0], "overlap": [2, 2, 2]}),
    ):
        masks[name] = segment(make_work(scene, tmp_path / name, card, tmp_path / "model", tiling=tiling)).astype(int)
    np.testing.assert_array_equal(masks["tiled"][0], masks["untiled"][0])
    np.testing.assert_allclose(masks["tiled"][1], masks["untiled"][1], atol=1)
    assert np.abs(masks["without a halo"] - masks["untiled"]).max() > 1


@pytest.mark.parametrize("position", [False, True])
def test_a_resampled_volume_through_a_network_has_the_same_bits_for_every_block(tmp_path, position):
    card = small_unet(tmp_path / "model", 3, position=position)
    shape, scale = (40, 130, 90), (1.0, 0.6, 0.6)
    image = np.random.default_rng(2).normal(size=(1, *shape)).astype(np.float32)
    model_shape = tuple(int(np.ceil(n * s)) for n, s in zip(shape, scale, strict=True))
    scene = array_scene(tmp_path, image, frame=Frame(native_shape=shape, model_shape=model_shape, scale=scale))
    masks = [
        segment(
            make_work(
                scene,
                tmp_path / str(k),
                card,
                tmp_path / "model",
                tiling={"tile": 32, "halo": 2, "overlap": 4, "block": block},
            )
        )
        for k, block in enumerate([(64, 192, 128), (32, 64, 64), (32, 128, 128)])
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_every_shipped_card_has_its_weights() -> None:
    for path in ZOO.glob("*.json"):
        card, folder = resolve_model(path.stem)
        assert folder is not None
        assert (folder / card.weights.file).is_file()
