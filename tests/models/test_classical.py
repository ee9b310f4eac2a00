"""Classical segmenters: equal to scikit-image and scikit-learn, the same over tiles, fitted once, used again."""

import json
import math

import numpy as np
import pytest
from arrays import ArrayScene, array_scene, make_work, read_mask
from scenes import write_raster, write_volume
from skimage.filters import threshold_multiotsu, threshold_otsu
from sklearn.cluster import KMeans, MeanShift, estimate_bandwidth
from sklearn.mixture import GaussianMixture

from flows.cluster.engine import ClusterSettings, open_engine
from models.card import load_card, write_card
from models.classical.card import card_features, is_fitted
from models.errors import CardError, ExpressionError, FitError
from models.predictors.loading import load_predictor
from models.registry import card_without_weights
from models.run_settings import RunSettings
from tasks.answers.metrics.overlap import dice
from tasks.errors import BandError, EmptySceneError
from tasks.files.fingerprint import Fingerprint
from tasks.inputs.listing import list_inputs
from tasks.intake.describe import describe, identify
from tasks.intake.request import make_request
from tasks.jobs.job import Job, load_job
from tasks.segment import sample as sampling
from tasks.segment.fitting import fitted_card
from tasks.segment.graph import PlainEngine
from tasks.segment.measure import measure_slot
from tasks.segment.prepare import prepare
from tasks.segment.sample import sample_features
from tasks.training.labels import read_labels
from tasks.training.whole import segment_whole

T = 64
SIZES = [1, T - 1, T, T + 1, 2 * T + 3]
INDEX = "(B0 - B1) / (B0 + B1)"
METHODS = {
    "threshold": {"threshold": [-0.3, 0.2], "features": INDEX},
    "otsu": {"features": INDEX, "classes": 3},
    "kmeans": {"features": [INDEX, "B1"], "classes": 4},
    "gaussian-mixture": {"features": ["B0", "B1"], "classes": [2, 4]},
    "mean-shift": {"features": ["B0", "log(B1)"], "quantile": 0.2, "sample": 500},
}


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Two bands of four kinds of ground."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, shape)
    centres = np.array([[0.1, 0.3], [0.2, 0.1], [0.5, 0.45], [0.45, 0.15]])
    image = np.moveaxis(centres[kinds], -1, 0) + rng.normal(0, 0.03, (2, *shape))
    return np.maximum(image, 0.01).astype(np.float32)


def fitted(scene: ArrayScene, name: str, arguments: dict, bands: tuple[str, ...] = ("B0", "B1")):
    kind = "raster" if len(scene.frame.native_shape) == 2 else "volume"
    card = card_without_weights(name, arguments, bands, kind)
    return fitted_card(card, scene, Fingerprint("0" * 64, content_hashed=True))


def whole_scores(card, image: np.ndarray) -> np.ndarray:
    """One untiled pass over the features."""
    bands = dict(zip(card.channels, image, strict=True))
    batch = np.stack([feature(bands) for feature in card_features(card)])[np.newaxis]
    return load_predictor(card, None, RunSettings(tile=image.shape[1:])).predict(batch)[0]


def segmented(scene: ArrayScene, folder, card, **tiling) -> tuple[np.ndarray, np.ndarray]:
    work = make_work(scene, folder, card, None, tiling=tiling)
    list(PlainEngine().run_blocks(work, work.plan.blocks(scene.frame)))
    return read_mask(work), read_mask(work, "confidence")


@pytest.mark.parametrize("shape", [(90, 70), (12, 20, 15)], ids=["2-D", "3-D"])
def test_thresholds_are_those_of_scikit_image(tmp_path, shape):
    image = blobs(shape)[:1] * 1000
    scene = array_scene(tmp_path, image)
    for classes in (2, 3, 4):
        card = fitted(scene, "otsu", {"classes": classes, "features": "HU"}, ("HU",))
        expected = [threshold_otsu(image[0])] if classes == 2 else threshold_multiotsu(image[0], classes)
        assert card.network.arguments["fitted"]["thresholds"] == [float(value) for value in expected]
        mask, confidence = segmented(scene, tmp_path / f"{classes}", card)
        np.testing.assert_array_equal(mask, np.digitize(image[0], expected, right=True))
        assert (confidence == 100).all()
        assert card.n_classes == classes
    assert (mask == 1).any()
    np.testing.assert_array_equal(
        segmented(scene, tmp_path / "2b", fitted(scene, "otsu", {}, ("HU",)))[0], image[0] > threshold_otsu(image[0])
    )


def relabelled(labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Number scikit-learn's labels by their centres' first feature."""
    return np.argsort(np.argsort(centres[:, 0]))[labels]


def scikit_learns(name: str, scaled: np.ndarray):
    if name == "kmeans":
        model = KMeans(4, n_init=4, max_iter=500, random_state=0).fit(scaled)
        return model, model.cluster_centers_
    if name == "mean-shift":
        bandwidth = estimate_bandwidth(scaled, quantile=0.2, random_state=0)
        model = MeanShift(bandwidth=bandwidth, bin_seeding=True, max_iter=500).fit(scaled)
        return model, model.cluster_centers_
    models = [GaussianMixture(k, max_iter=500, random_state=0).fit(scaled) for k in (2, 3, 4)]
    model = min(models, key=lambda model: model.bic(scaled))
    return model, model.means_


@pytest.mark.parametrize("name", ["kmeans", "gaussian-mixture", "mean-shift"])
def test_clusters_are_those_of_scikit_learn_fitted_to_the_same_sample(tmp_path, name):
    image = blobs((70, 51))
    scene = array_scene(tmp_path, image)
    arguments = METHODS[name] | {"sample": 1000}
    card = fitted(scene, name, arguments)
    sample = sample_features(scene, card, 1000, 0).astype(np.float64)
    assert sample.shape == (1000, 2)
    model, centres = scikit_learns(name, (sample - sample.mean(0)) / sample.std(0))
    bands = dict(zip(("B0", "B1"), image, strict=True))
    features = np.stack([feature(bands) for feature in card_features(card)], axis=-1).astype(np.float64)
    scaled = ((features - sample.mean(0)) / sample.std(0)).reshape(-1, 2)
    expected = relabelled(model.predict(scaled), centres).reshape(70, 51)
    assert card.n_classes == len(centres) > 2
    np.testing.assert_array_equal(whole_scores(card, image).argmax(0), expected)
    np.testing.assert_array_equal(segmented(scene, tmp_path / "store", card, tile=32)[0], expected)
    if name == "gaussian-mixture":
        probabilities = model.predict_proba(scaled)[:, np.argsort(centres[:, 0])].T.reshape(-1, 70, 51)
        np.testing.assert_allclose(whole_scores(card, image), probabilities, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rows", SIZES)
def test_tiled_equals_whole_bit_for_bit(tmp_path, name, rows):
    cols = SIZES[-1 - SIZES.index(rows)] + 5
    large = array_scene(tmp_path / "large", blobs((60, 60)))
    card = fitted(large, name, METHODS[name])
    image = blobs((rows, cols), seed=rows)
    scores = whole_scores(card, image)
    for number, tile in enumerate([T, 17, {"tile": T, "halo": 5}]):
        tiling = tile if isinstance(tile, dict) else {"tile": tile}
        mask, confidence = segmented(
            array_scene(tmp_path / str(number), image), tmp_path / f"s{number}", card, **tiling
        )
        np.testing.assert_array_equal(mask, scores.argmax(0))
        np.testing.assert_array_equal(confidence, np.round(scores.max(0) * 100))


@pytest.mark.parametrize("name", ["otsu", "kmeans", "gaussian-mixture"])
def test_volumes_are_segmented_the_same_for_every_tile_and_block(tmp_path, name):
    image = blobs((40, 70, 66))[:1]
    scene = array_scene(tmp_path, image)
    arguments = {"features": "sqrt(HU)", "classes": 3}
    card = fitted(scene, name, arguments, ("HU",))
    expected = whole_scores(card, image).argmax(0)
    for number, tiling in enumerate([{"tile": 16}, {"tile": 32, "block": (32, 64, 64)}]):
        mask, _ = segmented(scene, tmp_path / str(number), card, **tiling)
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("name", ["kmeans", "gaussian-mixture"])
def test_the_bits_do_not_depend_on_the_block(tmp_path, name):
    scene = array_scene(tmp_path, blobs((600, 530)))
    card = fitted(scene, name, METHODS[name])
    one, other = (segmented(scene, tmp_path / str(block), card, tile=200, block=block) for block in (512, 1024))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[0], whole_scores(card, blobs((600, 530))).argmax(0))


@pytest.mark.parametrize("name", METHODS)
def test_what_was_not_observed_or_has_no_value_is_neither_looked_at_nor_answered(tmp_path, name):
    image = blobs((80, 70))
    valid = np.random.default_rng(3).random((80, 70)) > 0.2
    clean = array_scene(tmp_path / "clean", image, valid & (np.arange(70) != 7))
    dirty = image.copy()
    dirty[:, ~valid] = 1e9
    # The index, and the logarithm, have no value here; the mixture's bands do.
    dirty[:, :, 7] = 0
    scene = array_scene(
        tmp_path / "dirty", dirty, valid & (np.arange(70) != 7) if name == "gaussian-mixture" else valid
    )
    card = fitted(scene, name, METHODS[name])
    assert card == fitted(clean, name, METHODS[name])
    mask, confidence = segmented(scene, tmp_path / "s", card, tile=T)
    seen = valid & (np.arange(70) != 7)
    assert (mask[~seen] == 255).all()
    assert (confidence[~seen] == 255).all()
    assert (mask[seen] < card.n_classes).all()


def test_classes_are_in_the_order_of_the_first_feature(tmp_path):
    image = blobs((80, 70))
    for name in ("kmeans", "gaussian-mixture", "mean-shift"):
        for first in ("B0", "-B0"):
            card = fitted(array_scene(tmp_path, image), name, METHODS[name] | {"features": [first, "B1"]})
            labels = whole_scores(card, image).argmax(0)
            means = [image[0][labels == k].mean() for k in range(card.n_classes)]
            assert means == sorted(means, reverse=first == "-B0")
            assert [entry.name for entry in card.classes] == [f"cluster {k + 1}" for k in range(card.n_classes)]


def test_many_classes_have_a_colour_each():
    card = card_without_weights("kmeans", {"classes": 64}, ("B0",), "raster")
    assert len({entry.colour for entry in card.classes}) == 64
    levels = card_without_weights("threshold", {"threshold": [1, 2, 3], "features": "B0"}, ("B0",), "raster")
    assert len({entry.colour for entry in levels.classes}) == 4


def test_classes_are_called_as_the_job_says(tmp_path):
    card = fitted(array_scene(tmp_path, blobs((30, 30))), "otsu", {"features": "B0", "names": ["bare", "green"]})
    assert [entry.name for entry in card.classes] == ["bare", "green"]
    unnamed = fitted(array_scene(tmp_path, blobs((30, 30))), "otsu", {"features": "B0"})
    assert [entry.name for entry in unnamed.classes] == ["below", "above"]


def places(tmp_path, shape, valid=None):
    """A scene whose values say where they lie."""
    return array_scene(tmp_path, np.arange(1, math.prod(shape) + 1, dtype=np.float32).reshape(1, *shape), valid)


def test_the_sample_is_of_distinct_valid_pixels_spread_evenly(tmp_path):
    valid = np.ones((300, 200), bool)
    valid[:, :50] = False
    card = card_without_weights("otsu", {"features": "B0"}, ("B0",), "raster")
    drawn = sample_features(places(tmp_path, (300, 200), valid), card, 3000, 0)[:, 0].astype(int) - 1
    assert len(set(drawn)) == 3000
    assert valid.ravel()[drawn].all()
    quarters = np.histogram2d(drawn // 200, drawn % 200, bins=[2, 2], range=[[0, 300], [50, 200]])[0]
    # A binomial's standard deviation is 24.
    assert (abs(quarters - 750) < 100).all()
    other = sample_features(places(tmp_path, (300, 200), valid), card, 3000, 1)[:, 0].astype(int) - 1
    assert len(set(drawn) & set(other)) < 400
    everything = sample_features(places(tmp_path, (300, 200), valid), card, 10**6, 0)
    assert len(everything) == valid.sum()


def test_a_large_scene_is_looked_at_through_windows_and_whole_where_they_show_little(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "_WINDOW", {2: (8, 8)})
    monkeypatch.setattr(sampling, "_CELLS", {2: (5, 5)})
    monkeypatch.setattr(sampling, "_FEW", 100)
    card = card_without_weights("otsu", {"features": "B0"}, ("B0",), "raster")
    drawn = sample_features(places(tmp_path / "a", (203, 150)), card, 10**6, 0)
    assert len(np.unique(drawn)) == len(drawn) == 25 * 64
    # One of the lattice's cells, and most of it beside the window.
    valid = np.zeros((203, 150), bool)
    valid[41:80, 31:59] = True
    drawn = sample_features(places(tmp_path / "b", (203, 150), valid), card, 10**6, 0)
    assert len(drawn) == valid.sum()


def refusals(image: np.ndarray, tmp_path, name: str, arguments: dict, match: str, valid=None, error=FitError):
    with pytest.raises(error, match=match):
        fitted(array_scene(tmp_path, image, valid), name, arguments)


def test_a_scene_that_cannot_carry_the_fit_is_refused_by_name(tmp_path):
    image, flat = blobs((20, 20)), np.full((2, 20, 20), 0.5, np.float32)
    one = np.zeros((20, 20), bool)
    refusals(image, tmp_path, "kmeans", {"classes": 3}, "scene: no pixel has a value of B0, B1", one, EmptySceneError)
    one[3, :2] = True
    refusals(image, tmp_path, "kmeans", {"classes": 3}, "scene: 2 distinct values in the sample; 3 classes", one)
    refusals(flat, tmp_path, "gaussian-mixture", {"classes": 2}, "1 distinct values in the sample; 2 classes")
    refusals(flat, tmp_path, "otsu", {"features": "B0"}, "1 distinct values in the sample; 2 classes")
    # Its two values are neighbours among the numbers of float32.
    near = np.where(np.arange(20) < 10, np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))) * flat * 2
    refusals(near, tmp_path, "otsu", {"features": "B0"}, "scene: the sample does not carry the fit: .*bins")
    refusals(flat, tmp_path, "mean-shift", {}, "scene: the estimated bandwidth is 0.*Give bandwidth")
    refusals(image * 1000, tmp_path, "mean-shift", {"bandwidth": 0.05}, "finds [0-9]+ classes .* larger bandwidth")


WRONG = [
    ("kmeans", {}, ".classes. is missing"),
    ("kmeans", {"classes": 1}, "greater than or equal to 2"),
    ("kmeans", {"classes": 3, "bandwidth": 1}, ".bandwidth. is not known"),
    ("otsu", {}, "one feature; name one under features: B0, B1"),
    ("otsu", {"features": "B0", "classes": 9}, "less than or equal to 5"),
    ("gaussian-mixture", {"classes": [5, 3]}, "the fewest and the most"),
    ("mean-shift", {"bandwidth": 0}, "greater than 0"),
    ("threshold", {"features": "B0", "threshold": [2, 1]}, "have to ascend"),
    ("threshold", {"threshold": 1, "channel": 5}, "channel 5 of 2"),
    ("threshold", {"threshold": float("nan")}, "finite number"),
    ("otsu", {"features": "B0", "names": ["low", "middle", "high"]}, "3 names for 2 classes"),
    ("mean-shift", {"names": ["low", "high"]}, "only the fit tells"),
]


@pytest.mark.parametrize(("name", "arguments", "why"), WRONG)
def test_arguments_that_do_not_fit_are_refused_by_name(name, arguments, why):
    with pytest.raises(CardError, match=f"arguments of '{name}' do not fit.*{why}"):
        card_without_weights(name, arguments, ("B0", "B1"), "raster")


CENTRES = {"mean": [0, 0], "std": [1, 1], "centres": [[0, 0], [1, 1]]}
GAUSSIANS = {
    "mean": [0, 0], "std": [1, 1], "weights": [0.5, 0.5], "means": [[0, 0], [1, 1]],
    "precisions_cholesky": [[[1, 0], [0, 1]], [[1, 0], [0, 1]]],
}  # fmt: skip
DAMAGED = [
    ("kmeans", CENTRES | {"mean": [0]}, "do not belong together"),
    ("kmeans", CENTRES | {"centres": [[0, 0], [1]]}, "do not belong together"),
    ("kmeans", CENTRES | {"centres": [[0, 0]]}, "fitted to 1 classes, and 2 are asked for"),
    ("kmeans", CENTRES | {"std": [1, 0]}, "greater than 0"),
    ("kmeans", {"mean": [0], "std": [1], "centres": [[0], [1]]}, "fitted to 1 features, and there are 2"),
    ("gaussian-mixture", GAUSSIANS | {"means": [[0, 0]]}, "do not belong together"),
    ("gaussian-mixture", GAUSSIANS | {"weights": [1, 0]}, "greater than 0"),
    ("gaussian-mixture", GAUSSIANS | {"precisions_cholesky": [[[1, 0]], [[1, 0]]]}, "do not belong together"),
    ("gaussian-mixture", GAUSSIANS | {"precisions_cholesky": [[[0, 0], [0, 1]]] * 2}, "diagonal"),
]


@pytest.mark.parametrize(("name", "numbers", "why"), DAMAGED)
def test_fitted_numbers_that_do_not_belong_together_are_refused(name, numbers, why):
    card = card_without_weights(name, {"classes": 2}, ("B0", "B1"), "raster")
    whole = CENTRES if name == "kmeans" else GAUSSIANS
    for fitted_numbers, wrong in ((whole, None), (numbers, why)):
        network = card.network.model_copy(update={"arguments": card.network.arguments | {"fitted": fitted_numbers}})
        changed = card.model_copy(update={"network": network})
        if wrong is None:
            assert load_predictor(changed, None, RunSettings(tile=(8, 8))).spec.n_classes == 2
            continue
        with pytest.raises(CardError, match=f"arguments of '{name}' do not fit.*{wrong}"):
            load_predictor(changed, None, RunSettings(tile=(8, 8)))


def test_a_volume_has_one_channel_and_a_card_that_was_not_fitted_no_predictor():
    with pytest.raises(CardError, match=r"a volume has one channel; the features name CT, PET"):
        card_without_weights("kmeans", {"classes": 2, "features": "CT - PET"}, ("1",), "volume")
    with pytest.raises(CardError, match=r"not fitted to a scene yet; take the model\.json"):
        load_predictor(
            card_without_weights("kmeans", {"classes": 2}, ("1",), "volume"), None, RunSettings(tile=(64,) * 3)
        )
    card = card_without_weights("threshold", {"threshold": 1, "features": "B0"}, ("B0",), "raster")
    with pytest.raises(CardError, match=r"names B0; its channels are B7"):
        card_features(card.model_copy(update={"channels": ("B7",)}))


def raster_job(name: str, arguments: dict, **more) -> Job:
    bands = {"B0": {"band": 1}, "B1": {"band": 2}}
    raw = {"job": "mine", "kind": "raster", "source": {"bands": bands}, "model": {"name": name, "arguments": arguments}}
    return Job.model_validate(raw | more)


def prepared_scene(job: Job, raster, out, model: str | None = None, workers: int = 1):
    request = make_request(job, out, model)
    (item,) = list_inputs([str(raster)], job)
    slot = measure_slot(request.card, request.card_folder, job, 1)
    return request, prepare(request, describe(request, item), identify(request, item), slot, workers)


@pytest.mark.parametrize("name", ["otsu", "kmeans", "gaussian-mixture", "mean-shift"])
def test_a_saved_card_gives_the_same_mask_without_a_fit(tmp_path, monkeypatch, name):
    image = blobs((50, 60))
    image[:, 5:9, 5:9] = -1
    raster = write_raster(tmp_path / "scene.tif", image, nodata=-1)
    job = raster_job(name, METHODS[name])
    request, prepared = prepared_scene(job, raster, tmp_path / "out")
    again = prepared_scene(job, raster, tmp_path / "other")[1]
    assert again.product_key == prepared.product_key
    assert again.work.card == prepared.work.card
    assert is_fitted(prepared.work.card)
    assert request.card.network.arguments.get("fitted") is None
    mask = segment_whole(request, prepared.scene)
    write_card(prepared.work.card, tmp_path / "model.json")
    assert load_card(tmp_path / "model.json") == prepared.work.card

    monkeypatch.setattr("tasks.segment.fitting.fit", lambda *_: pytest.fail("fitted again"))
    reused, taken = prepared_scene(job, raster, tmp_path / "out", str(tmp_path / "model.json"))
    assert taken.work.card == prepared.work.card
    assert (taken.request_key, taken.product_key) != (prepared.request_key, prepared.product_key)
    np.testing.assert_array_equal(segment_whole(reused, taken.scene), mask)
    assert (mask[5:9, 5:9] == 255).all()
    assert len(np.unique(mask)) == taken.work.card.n_classes + 1
    by_path = Job.model_validate({**job.model_dump(), "model": {"weights": str(tmp_path / "model.json")}})
    assert make_request(by_path, tmp_path / "out").card == taken.work.card


def test_kmeans_has_the_same_bytes_with_one_worker_and_with_two(tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blobs((1100, 530)))
    tiling, output = {"tile": 200, "block": 512}, {"confidence": True}
    job = raster_job("kmeans", METHODS["kmeans"], tiling=tiling, output=output)
    found = []
    for workers in (1, 2):
        prepared = prepared_scene(job, raster, tmp_path / str(workers), workers=workers)[1]
        work, blocks = prepared.work, prepared.work.plan.blocks(prepared.scene.frame)
        assert len(blocks) == 6
        with open_engine(ClusterSettings(workers=workers, device="cpu", scratch=tmp_path / "dask")) as engine:
            list(engine.run_blocks(work, blocks))
        files = [path for layer in work.layers for path in sorted((work.store / layer).rglob("*")) if path.is_file()]
        found.append({path.relative_to(work.store): path.read_bytes() for path in files})
        assert len(np.unique(read_mask(work))) == 4
    assert {path.parts[0] for path in found[0]} == {"mask", "confidence"}
    assert found[0] == found[1]


def test_whatever_changes_the_fit_changes_the_request_and_the_product(tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blobs((40, 40)))
    jobs = [{"classes": 3}, {"classes": 4}, {"classes": 3, "seed": 1}, {"classes": 3, "features": INDEX}]
    prepared = [prepared_scene(raster_job("kmeans", arguments), raster, tmp_path / "out")[1] for arguments in jobs]
    assert len({one.request_key for one in prepared}) == len({one.product_key for one in prepared}) == len(jobs)
    blocks = [
        prepared_scene(raster_job("kmeans", jobs[0], tiling={"block": b}), raster, tmp_path / "b")[1]
        for b in ("auto", 512, 1024)
    ]
    assert {one.product_key for one in blocks} == {prepared[0].product_key}


def test_a_band_that_is_not_there_and_an_expression_that_is_none_are_named(tmp_path):
    raster = write_raster(tmp_path / "scene.tif", blobs((20, 20)))
    with pytest.raises(BandError, match=r"band 'B9' missing; the model needs B0, B9; found .*source\.bands"):
        prepared_scene(raster_job("otsu", {"features": "B0 / B9"}), raster, tmp_path / "out")
    with pytest.raises(ExpressionError, match=r"'B0 / \(B1', at character 6"):
        make_request(raster_job("otsu", {"features": "B0 / (B1"}), tmp_path / "out")


def run(job, out, *inputs, model=None):
    from flows.batch.orders import Batch
    from flows.batch.segment import segment_batch

    names = [str(path) for path in inputs]
    return {o.scene: o for o in segment_batch(Batch(inputs=names, job=str(job), out=out, workers=1, model=model))}


@pytest.mark.usefixtures("shared_worker")
def test_volumes_of_a_batch_have_as_many_classes_each_as_mean_shift_finds(tmp_path):
    rng = np.random.default_rng(0)
    for name, levels in (("two", (-500, 400)), ("three", (-900, 0, 900))):
        image = np.repeat(np.array(levels, np.float32), 200).reshape(-1, 5, 8) + rng.normal(
            0, 20, (5 * len(levels), 5, 8)
        )
        write_volume(tmp_path / "scans" / f"{name}.nii.gz", image.astype(np.float32))
    job = tmp_path / "job.yaml"
    job.write_text("job: hu\nkind: volume\nmodel: {name: mean-shift, arguments: {features: HU, bandwidth: 0.4}}\n")
    outcomes = run(job, tmp_path / "out", tmp_path / "scans")
    assert {o.status for o in outcomes.values()} == {"done"}
    cards = {name: load_card(tmp_path / "out" / name / "model.json") for name in outcomes}
    assert {name: card.n_classes for name, card in cards.items()} == {"two": 2, "three": 3}
    model = str(tmp_path / "out" / "three" / "model.json")
    (outcome,) = run(job, tmp_path / "reused", tmp_path / "scans" / "three.nii.gz", model=model).values()
    first, second = (read_labels(tmp_path / out / "three" / "mask.nii.gz") for out in ("out", "reused"))
    assert outcome.status == "done"
    np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("shared_worker")
def test_otsu_on_dnbr_finds_a_real_fire_and_a_second_run_skips_it(data, tmp_path):
    folder = data / "satellite-fire" / "calfire-s2"
    table = tmp_path / "inputs.csv"
    files = [(folder / role / "CREEK_20240726.tif").resolve() for role in ("post_fire", "dnbr")]
    table.write_text(f"scene,post,dnbr\nCREEK_20240726,{files[0]},{files[1]}\n")
    (outcome,) = run("fire-otsu", tmp_path / "out", table).values()
    product = tmp_path / "out" / "CREEK_20240726"
    assert outcome.status == "done"
    found, reference = (read_labels(path) for path in (product / "mask.tif", folder / "masks" / "CREEK_20240726.tif"))
    assert dice(found, reference, 1) > 0.8
    assert outcome.headline["burned_ha"] > 100
    threshold = load_card(product / "model.json").network.arguments["fitted"]["thresholds"]
    assert 0.05 < threshold[0] < 0.5
    assert "model.json" in json.dumps((product / "report.html").read_text())
    assert run("fire-otsu", tmp_path / "out", table)["CREEK_20240726"].status == "skipped"
    assert load_job("fire-otsu").model.name == "otsu"


def test_mean_shift_of_place_and_values_is_scikit_learns_on_both_and_the_same_over_tiles(tmp_path):
    """Two fields of one value, apart: one cluster by value, two by place and value."""
    image = np.full((2, 60, 90), 0.1, np.float32)
    image[:, 10:50, 5:35] = image[:, 10:50, 55:85] = 0.6
    image += np.random.default_rng(0).normal(0, 0.02, image.shape).astype(np.float32)
    scene = array_scene(tmp_path, image)
    arguments = {"features": ["B0", "B1"], "bandwidth": 0.8, "sample": 2000}
    by_value = fitted(scene, "mean-shift", arguments)
    assert by_value.n_classes == 2
    card = fitted(scene, "mean-shift", arguments | {"place": 32.0})
    sample = sample_features(scene, card, 2000, 0).astype(np.float64)
    assert sample.shape == (2000, 4)
    values, places = sample[:, :2], sample[:, 2:]
    rows, cols = places.astype(int).T
    np.testing.assert_array_equal(values, image[:, rows, cols].T)
    scaled = np.hstack([(values - values.mean(0)) / values.std(0), places * 0.8 / 32.0])
    model = MeanShift(bandwidth=0.8, bin_seeding=True, max_iter=500).fit(scaled)
    every = np.stack([*image, *np.mgrid[:60, :90]], axis=-1).reshape(-1, 4).astype(np.float64)
    joint = np.hstack([(every[:, :2] - values.mean(0)) / values.std(0), every[:, 2:] * 0.8 / 32.0])
    order = np.lexsort(model.cluster_centers_.T[::-1])
    expected = np.argsort(order)[model.predict(joint)].reshape(60, 90)
    for number, tiling in enumerate([{"tile": 96}, {"tile": 32}, {"tile": 17, "halo": 5}]):
        mask, _ = segmented(scene, tmp_path / f"s{number}", card, **tiling)
        np.testing.assert_array_equal(mask, expected)
    left, right = np.unique(expected[20:40, 10:30]), np.unique(expected[20:40, 60:80])
    assert set(left).isdisjoint(right)


def test_place_is_a_radius_of_mean_shift_alone():
    with pytest.raises(CardError, match="greater than 0"):
        card_without_weights("mean-shift", {"features": "B0", "place": 0}, ("B0",), "raster")
    with pytest.raises(CardError, match="place"):
        card_without_weights("kmeans", {"features": "B0", "classes": 2, "place": 3}, ("B0",), "raster")
