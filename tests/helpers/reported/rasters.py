"""The cases of ``reports/geo``: what is asked of each, and what is right."""

from __future__ import annotations

import numpy as np
import rasterio
from scipy import ndimage

from reported.bench import Case, case, near

THRESHOLD = """
job: threshold
kind: raster
source: {bands: {V: {band: 1, quantity: counts}}}
model: {name: threshold, arguments: {threshold: 100}}
analysis: {kind: area}
"""


def threshold_job(asked: Case) -> str:
    """Write the job that calls values above 100 class 1."""
    (asked.folder / "threshold.yaml").write_text(THRESHOLD)
    return "threshold.yaml"


def events(asked: Case, site: str, out: str = "out") -> list[dict]:
    """Return the events of a site, the largest first."""
    rows = asked.table(f"{out}/fires/{site}/events.gpkg")
    return sorted(rows, key=lambda row: -row["area_ha"])


def shown(*numbers: float) -> str:
    """Return numbers as the table has them."""
    return ", ".join(f"{number:.5g}" for number in numbers)


@case("geo/01-antimeridian-fires")
def antimeridian_fires(asked: Case) -> None:
    asked.asked("analyse fire", "masks")
    found = events(asked, "TAVEUNI")
    areas, first = [event["area_ha"] for event in found], asked.headline("TAVEUNI_20240801", "largest_fire_ha")
    right = near(first, 56, 3e-3) and len(areas) == 2 and near(areas[0], 128, 3e-3) and near(areas[1], 16, 3e-3)
    asked.tell("hectares of detection and events", "56, then 128 and 16 nominal", shown(first, *areas), right)
    growth = found[0] if found else {}
    rate, direction = (float(growth.get(key, np.nan)) for key in ("growth_ha_per_day", "growth_direction_deg"))
    asked.tell(
        "growth",
        "14.4 ha/day towards 90",
        f"{shown(rate)} ha/day towards {shown(direction)}",
        near(rate, 14.4, 0.005) and near(direction, 90, 0.02),
    )


@case("geo/02-antimeridian-fields")
def antimeridian_fields(asked: Case) -> None:
    for file, names, right in (
        ("fields.geojson", ("cut", "uncut"), (132.0, 132.0)),
        ("fields_utm.gpkg", ("cut", "two"), (132.0, 188.6)),
    ):
        out = file.split(".")[0]
        asked.asked("analyse crop", "map.tif", "--fields", file, "--fields-id", "parcel", out=out)
        by_name = {row["parcel"]: row for row in asked.table(f"{out}/map/fields.gpkg")}
        found = [float(by_name.get(name, {}).get("area_ha", np.nan)) for name in names]
        asked.tell(
            f"hectares of {' and '.join(names)} in {file}",
            shown(*right),
            shown(*found),
            all(near(one, other, 2e-3) for one, other in zip(found, right, strict=True)),
        )


@case("geo/04-palette-256")
def palette(asked: Case) -> None:
    asked.asked("analyse fire", "map.tif", "map_sidecar.tif", "--set", "analysis.min_area_ha=0")
    for name in ("map", "map_sidecar"):
        classes = asked.summary(name)["classes"]
        found = {key: value["pixels"] for key, value in classes.items() if value["pixels"]}
        asked.tell(
            f"pixels of {name}",
            "10,000 and 5,000, 75,000 not observed",
            found,
            sorted(found.values()) == [5000, 10_000, 75_000] and found.get("not observed") == 75_000,
        )


@case("geo/05-float-int-masks")
def float_masks(asked: Case) -> None:
    asked.asked("analyse fire", "m")
    for name, scene in sorted(asked.scenes().items()):
        line = scene["headline"]
        if name[0] in "ABCE":
            found = (line.get("class_1_pixels"), line.get("observed_percent"))
            asked.tell(name, "2,000 pixels, 90 % observed", found, found == (2000, 90.0))
        elif name[0] == "D":
            asked.tell(name, "refused, with -1 named", scene["error"], "found -1" in (scene["error"] or ""))


@case("geo/07-field-columns")
def field_columns(asked: Case) -> None:
    for name, right, keys in (
        ("case", "Name and name, FIXME and fixme", ("upper", "lower", "x", "z")),
        ("lists", "lists kept as text", ('["maize", "rye"]',)),
        ("nested", "kept as text", ("a", "b")),
        ("ownid", "DE-0815 is found again", ("DE-0815",)),
        ("fid", "all columns", ("A", "B", "mine")),
    ):
        done = asked.asked("analyse crop", "map.tif", "--fields", f"{name}.geojson", out=name)
        values = [str(value) for row in asked.table(f"{name}/map/fields.gpkg") for value in row.values()]
        kept = [key for key in keys if any(key.replace(" ", "") in value.replace(" ", "") for value in values)]
        asked.tell(f"columns of {name}", right, f"exit {done.code}, kept: {', '.join(kept)}", len(kept) == len(keys))
    asked.asked("analyse crop", "map.tif", "--fields", "odd.geojson", out="odd")
    rows = asked.table("odd/map/fields.gpkg")
    told = asked.warnings("odd")
    asked.tell(
        "odd",
        "3 fields, bow-tie of 2 ha, both said",
        f"{len(rows)} fields, {shown(*(r['area_ha'] for r in rows))}; {told}",
        len(rows) == 3 and near(rows[0]["area_ha"], 2, 0.01) and "repaired" in told and "left out" in told,
    )


@case("geo/08-areas-crs")
def areas(asked: Case) -> None:
    asked.asked("analyse fire", "m")
    for site in ("MERC", "DEG", "FEET", "COMP"):
        first = asked.headline(f"{site}_20240801", "largest_fire_ha")
        found = events(asked, site)
        growth = float(found[0]["growth_area_ha"]) if found else np.nan
        asked.tell(
            f"hectares, joined, growth in {site}",
            "100, one event, 32",
            f"{shown(first)}, {len(found)} event(s), {shown(growth)}",
            near(first, 100, 0.01) and len(found) == 1 and near(growth, 32, 0.01),
        )


@case("geo/09-seams-validity")
def seams(asked: Case) -> None:
    asked.asked("analyse fire", "SEAM_20240801.tif")
    with rasterio.open(asked.folder / "SEAM_20240801.tif") as dataset:
        mask = dataset.read(1) == 1
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    right = sorted(int(size) for size in sizes[sizes * 0.04 >= 0.5])
    found = sorted(int(row["pixels"]) for row in asked.table("out/SEAM_20240801/objects.gpkg"))
    asked.tell("pixels of objects", f"{right} (scipy, 8 neighbours)", found, found == right)


@case("geo/20-sizes-layouts")
def sizes(asked: Case) -> None:
    job = threshold_job(asked)
    done = asked.asked("segment", "in", "--job", job)
    wrong = []
    for path in sorted((asked.folder / "in").glob("*.tif")):
        with rasterio.open(path) as dataset:
            rows, cols = dataset.shape
        left = rows * (cols // 2)
        right = {number: count for number, count in ((1, left), (0, rows * cols - left)) if count}
        if path.stem == "jpegcog_mask":
            right = {0: 500 * 350, 1: 500 * 350, 255: 100 * 700}
        if path.stem == "u16_nodata_neg9999":
            right = {1: 100 * 700 + 500 * 350, 0: 500 * 350}
        if (found := asked.classes(path.stem)) != right:
            wrong.append(f"{path.stem}: {found}")
    # One pixel, and pictures of one value, are refused as constant.
    constant = [name for name, scene in asked.scenes().items() if "ConstantScene" in (scene["error"] or "")]
    asked.tell(
        "classes of 14 layouts",
        "left half class 1 in each",
        f"exit {done.code}, otherwise: {', '.join(wrong) or 'none'}",
        all(text.split(":")[0] in constant for text in wrong),
    )


@case("geo/21-georef")
def georef(asked: Case) -> None:
    asked.asked("segment", "in", "--job", threshold_job(asked))
    for path in sorted((asked.folder / "in").glob("*.tif")):
        classes = asked.classes(path.stem)
        asked.tell(f"pixels of class 1 in {path.stem}", "15,000", classes.get(1), classes.get(1) == 15_000)
    with rasterio.open(asked.folder / "out" / "rpc" / "mask.tif") as dataset:
        kept = dataset.rpcs is not None
    asked.tell("RPCs of rpc.tif", "in the mask, or said", "in the mask" if kept else asked.warnings(), kept)


@case("geo/23-perband-nodata-vrt")
def perband(asked: Case) -> None:
    asked.asked("segment", "beside/stack_beside.vrt", "--job", "job.yaml", out="beside_out")
    found = asked.classes("stack_beside", "beside_out")
    right = {255: 2000, 1: 1000, 0: 7000}
    # Rows 30-39: 300 + 400 is above 600; rows 10-19 likewise.
    right = {255: 2000, 1: 3000, 0: 5000}
    asked.tell("classes of beside", str(right), found, found == right)
    for folder, wanted in (("up/vrt", ("UndeclaredError",)), ("gone", ("b.tif",))):
        name = f"stack_{folder.replace('/', '_')}"
        done = asked.asked("segment", f"{folder}/{name}.vrt", "--job", "job.yaml", out=folder.replace("/", "_"))
        error = asked.errors(folder.replace("/", "_")) or done.said
        asked.tell(folder, "refused, with what to do", error[:200], done.code and all(word in error for word in wanted))


@case("geo/24-undeclared-9999")
def undeclared(asked: Case) -> None:
    asked.asked("segment", "in", "--job", "fire-otsu")
    for name in ("TAG", "NAN", "UNDECLARED", "MTBS1000"):
        scene = f"{name}_20240801"
        classes = asked.classes(scene)
        burned, unseen = classes.get(1, 0), classes.get(255, 0)
        asked.tell(
            f"burned and not observed in {name}",
            "3,600 and 9,870 pixels, or a warning",
            f"{burned} and {unseen}; {' '.join(asked.summary(scene)['warnings'])[:160]}",
            abs(burned - 3600) < 40 and unseen == 9870,
        )


@case("geo/25-safe")
def safe(asked: Case) -> None:
    for level in ("L2A", "L1C"):
        asked.asked("segment", "in", "--job", f"safe_{level}.yaml", out=level)
        for name, scene in asked.scenes(level).items():
            found = asked.classes(name, level)
            asked.tell(
                f"classes of {name}",
                "12,200 class 1, 1,600 class 0, 600 not observed",
                found or scene["error"],
                found == {1: 12_200, 0: 1600, 255: 600},
            )
    done = asked.asked("segment", "zipped", "--job", "safe_L2A.yaml", out="zip")
    asked.tell("a zip", "refused clearly", done.said[-300:], done.code != 0 and done.says("zip"))


@case("geo/26-landsat")
def landsat(asked: Case) -> None:
    asked.asked("segment", "in", "--job", "landsat_TIF.yaml", out="upper")
    (name, _), *_ = (*asked.scenes("upper").items(), ("", {}))
    found = asked.classes(name, "upper")
    asked.tell(
        "classes by scale and bits", "{0: 7500, 1: 10500, 255: 4500}", found, found == {0: 7500, 1: 10_500, 255: 4500}
    )
    done = asked.asked("segment", "in", "--job", "landsat_tif.yaml", out="lower")
    asked.tell(
        "*.tif for *.TIF", "nothing found, and what was looked for", done.said[-300:], done.code and done.says(".TIF")
    )
    asked.asked("segment", "tagged", "--job", "tagged.yaml", out="tagged_out")
    (name, _), *_ = (*asked.scenes("tagged_out").items(), ("", {}))
    found = asked.classes(name, "tagged_out")
    asked.tell("classes by tags", "{0: 7500, 1: 13500, 255: 1500}", found, found == {0: 7500, 1: 13_500, 255: 1500})


@case("geo/28-names")
def names(asked: Case) -> None:
    done = asked.asked("segment", "in", "--job", threshold_job(asked))
    good = [name for name in asked.scenes() if asked.classes(name) == {0: 2048, 1: 2048}]
    asked.tell(
        "17 files with odd names",
        "17 masks of 2,048, exit 0",
        f"{len(good)} masks, exit {done.code}",
        len(good) == 17 and not done.code,
    )
    asked.asked("segment", "query", "--job", "threshold.yaml", out="query_out")
    asked.tell(
        "run?a=1 and run?a=2", "two scenes", list(asked.scenes("query_out")), len(asked.scenes("query_out")) == 2
    )


@case("geo/30-european-csv")
def csv_dialects(asked: Case) -> None:
    for name, words in (
        ("good", ()),
        ("semicolon", ("not in UTF-8",)),
        ("semicolon_utf8", ("semicolons",)),
        ("comma_decimal", ("decimal comma",)),
        ("swapped", ("swapped",)),
    ):
        asked.asked("analyse crop", "map.tif", "--samples", f"{name}.csv", out=name)
        if not words:
            found = asked.headline("map", "overall_accuracy", name)
            asked.tell(name, "overall accuracy 1", found, found == 1)
        else:
            error = asked.errors(name)
            asked.tell(name, f"refused: {words[0]}", error[:200], all(word in error for word in words))


@case("geo/31-cjk-names")
def cjk(asked: Case) -> None:
    done = asked.asked("segment", "in", "--job", threshold_job(asked))
    found = [name for name, scene in asked.scenes().items() if scene["status"] == "done"]
    asked.tell("scenes", "five, each of its own", ", ".join(found), len(found) == 5 and not done.code)


@case("geo/32-wrong-units")
def units(asked: Case) -> None:
    asked.asked("segment", "in", "--job", "fire")
    control = asked.classes("CONTROL_20240726")
    for name in ("REFL01", "TCI16", "DNBR1000", "BGR", "SWAPPED"):
        scene = f"{name}_20240726"
        told = asked.errors() if not asked.classes(scene) else " ".join(asked.summary(scene)["warnings"])
        told = asked.scenes()[scene]["error"] or told
        same = asked.classes(scene) == control
        asked.tell(name, "the mask of CONTROL, or a word", "the same mask" if same else told[:200], same or bool(told))


@case("geo/33-zones-and-names")
def zones(asked: Case) -> None:
    asked.asked("analyse fire", "zone", out="zone_out")
    found = events(asked, "EDGE", "zone_out")
    area, growth = (float(found[0][key]) if found else np.nan for key in ("area_ha", "growth_area_ha"))
    asked.tell(
        "a scar in two zones",
        "one event of 312 ha, growth near 0",
        f"{len(found)}, {shown(area, growth)}",
        len(found) == 1 and near(area, 312, 0.01) and abs(growth) < 8,
    )
    asked.asked("analyse fire", "landsat", out="landsat_out")
    found = events(asked, "042034", "landsat_out")
    growth = float(found[0]["growth_area_ha"]) if found else np.nan
    asked.tell("two Landsat masks", "one site, growth 108 ha", shown(growth), near(growth, 108, 0.01))
    asked.asked("analyse fire", "deg", out="deg_out")
    found = events(asked, "ALEUT", "deg_out")
    share = float(found[0]["growth_area_ha"] / found[0]["area_ha"]) if found else np.nan
    asked.tell("degrees over 180", "growth 50 x 100 of 50 x 300 pixels", shown(share), near(share, 1 / 3, 0.01))


def _run_night(asked: Case) -> None:
    order = ["--job", "job.yaml", "--inbox", "cat/catalog.json", "--night", "2024-08-09"]
    asked.run("nightly", *order, "--out", asked.folder / "out")


@case("geo/40-stac-split-tiles")
def split_tiles(asked: Case) -> None:
    _run_night(asked)
    found = [asked.headline(name, "largest_fire_ha") for name in asked.scenes()]
    asked.tell(
        "the fire in the larger half", "80 ha nominal", shown(*found), any(near(area, 80, 0.005) for area in found)
    )


@case("geo/42-stac-odd-items")
def odd_items(asked: Case) -> None:
    _run_night(asked)
    scenes = asked.scenes()
    right = {
        "range_20240801",
        "offset_20240803",
        "rasterbands_20240805",
        "lastsecond_20240806",
        "cloudtext_20240807",
        "naive_20240808",
    }
    done = {name for name, scene in scenes.items() if scene["status"] == "done"}
    failed = [scene["error"] for scene in scenes.values() if scene["status"] == "failed"]
    asked.tell("scenes", ", ".join(sorted(right)), ", ".join(sorted(done)), done == right)
    asked.tell("the item without its asset", "fails by name", "; ".join(map(str, failed))[:160], len(failed) == 1)
    found = asked.classes("rasterbands_20240805")
    asked.tell("an offset in raster:bands", "class 0 everywhere", found, set(found) == {0})


@case("geo/44-landsat-sites")
def landsat_sites(asked: Case) -> None:
    done = asked.run(
        "nightly", "--job", "job.yaml", "--inbox", "inbox", "--out", asked.folder / "out", "--night", "2024-08-09"
    )
    scenes = {name: scene["status"] for name, scene in asked.scenes().items()}
    asked.tell(
        "pairs of one path and row",
        "07-17 is paired with 07-01",
        scenes,
        any("20240717" in name and status == "done" for name, status in scenes.items()) and not done.code,
    )
