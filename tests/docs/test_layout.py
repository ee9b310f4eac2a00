"""The folders hold what they are for, the wheel holds all of it, and what is light stays light."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from tasks.jobs.job import load_job
from tasks.jobs.training import load_training_job

ROOT = Path(__file__).resolve().parents[2]
CODE = ("flows", "models", "tasks")
PACKAGES = ("configs", *CODE)
LIGHT = {
    "import tasks.segment.lattice, tasks.segment.plan, tasks.jobs.job, "
    "tasks.scenes.raster.scene, tasks.scenes.volume.scene, "
    "models.registry, models.card, models.predictors.fakes": {"torch", "prefect", "monai", "distributed"},
    "import tasks.segment.lattice, tasks.geometry.box, tasks.jobs.job": {
        "torch",
        "prefect",
        "rasterio",
        "nibabel",
        "dask",
        "zarr",
    },
    # The tree of commands, of which --help is made.
    "import flows.commands.app": {
        "torch",
        "prefect",
        "monai",
        "distributed",
        "rasterio",
        "numpy",
        "pydantic",
        "psutil",
    },
    # What workers are started with, before anything else of a batch.
    "import flows.batch.workers": {"torch", "prefect", "rasterio", "scipy", "pyproj", "shapely", "PIL"},
    "import flows.batch.segment": {"torch", "prefect", "scipy", "zarr", "skimage", "pyogrio", "nibabel"},
    # What a check of files takes beside its child.
    "import flows.commands.app, flows.commands.check": {"torch", "prefect", "dask", "rasterio", "pyproj", "scipy"},
    # The child that verdicts come from.
    "import tasks.verdict.child": {"torch", "distributed", "scipy", "zarr", "pydicom", "nibabel", "PIL"},
    # Lightning is for fits alone.
    "import flows.training.fit": {"torch", "pytorch_lightning", "matplotlib"},
    "import models.predictors.networks, models.training.settings": {"pytorch_lightning", "tensorboard"},
    "import tasks.segment.block, tasks.products.finish": {"torch", "skimage", "matplotlib", "pyogrio", "PIL", "pandas"},
}


def tracked(folder: str, pattern: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob(pattern) if "__pycache__" not in path.parts)


def test_configs_and_docker_hold_no_python():
    assert tracked("configs", "*.py") == tracked("docker", "*.py") == []


def test_every_folder_of_a_package_is_listed_by_name_and_has_an_init():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for name in PACKAGES for path in tracked(name, "*.py")}
    assert {".".join(folder.parts) for folder in folders} | {"configs"} == set(listed)
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)


def test_no_module_is_named_like_a_library():
    libraries = {name for name, owners in packages_distributions().items() if set(owners) != {"swathe"}}
    taken = libraries | set(sys.stdlib_module_names)
    own = {path.stem for name in PACKAGES for path in tracked(name, "*.py")} | set(PACKAGES)
    assert own & taken == set()


def imports(root: Path) -> dict[str, set[str]]:
    """Return which modules each module imports, inside functions and under ``TYPE_CHECKING`` as well."""
    paths = [path for name in CODE for path in (root / name).rglob("*.py") if "__pycache__" not in path.parts]
    modules = {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        named = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are written out"
                # A name may be a module of a package, or a definition in a module.
                wholes = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                named |= {whole if whole in modules else str(node.module) for whole in wholes.values()}
        found[module] = named & modules.keys()
    return found


def test_no_files_import_each_other_in_a_circle():
    found = imports(ROOT)
    assert len(found) > 300
    TopologicalSorter(found).prepare()


@pytest.mark.parametrize(
    "back",
    ["def f():\n    from tasks.one import a\n", "if TYPE_CHECKING:\n    import tasks.one\n"],
    ids=["late", "typed"],
)
def test_a_circle_is_seen_wherever_the_import_stands(tmp_path, back):
    for name in CODE:
        (tmp_path / name).mkdir()
    (tmp_path / "tasks" / "one.py").write_text("from tasks import two\n")
    (tmp_path / "tasks" / "two.py").write_text(back)
    with pytest.raises(CycleError):
        TopologicalSorter(imports(tmp_path)).prepare()


def test_what_belongs_nowhere_else_is_one_file_of_tasks_and_one_of_flows():
    loose = {name: {path.name for path in (ROOT / name).glob("*.py")} - {"__init__.py"} for name in ("tasks", "flows")}
    assert loose == {"tasks": {"errors.py"}, "flows": {"cli.py"}}


def test_every_folder_is_in_the_plan():
    page = (ROOT / "docs" / "architecture.md").read_text()
    built, _, rooms = page.partition("## Folder by folder")[2].partition("## Rooms")
    planned = {name: set(re.findall(r"^\| `([a-z/]+)/` \|", text, re.MULTILINE)) for name, text in
               (("built", built), ("rooms", rooms))}  # fmt: skip
    folders = {path.parent.relative_to(ROOT).as_posix() for name in CODE for path in tracked(name, "*.py")}
    assert folders - planned["built"] - planned["rooms"] == set()
    assert planned["built"] - folders == set()


@pytest.mark.parametrize("name", CODE)
def test_an_init_holds_its_sentence_and_nothing_else(name):
    for path in tracked(name, "__init__.py"):
        (only,) = ast.parse(path.read_text()).body
        assert ast.get_docstring(ast.Module([only], []), clean=True).count("\n") == 0, path


def test_tests_lie_in_folders_by_subject_and_import_no_other_test():
    page = (ROOT / "tests" / "README.md").read_text()
    described = set(re.findall(r"^\| `(\w+)` \|", page.partition("## By subject")[2], re.MULTILINE))
    files = tracked("tests", "test_*.py")
    assert {path.parent.relative_to(ROOT / "tests").as_posix() for path in files} == described
    assert {path.name for path in (ROOT / "tests").glob("*.py")} == {"conftest.py"}
    imported = [path for path in tracked("tests", "*.py")
                if re.search(r"^\s*(?:from|import) test_", path.read_text(), re.MULTILINE)]  # fmt: skip
    assert imported == []


def contracts() -> dict[str, dict]:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return {contract["name"]: contract for contract in listed}


def test_the_contract_on_dask_names_every_package_but_two():
    named = set(contracts()["Dask in segment.graph and flows.cluster alone"]["source_modules"])
    children = {f"{name}.{path.stem}" for name in ("flows", "tasks") for path in (ROOT / name).iterdir()
                if path.suffix == ".py" or (path / "__init__.py").is_file()}  # fmt: skip
    children -= {"flows.__init__", "tasks.__init__"}
    assert {"models", *children} - named == {"tasks.segment", "flows.cluster"}


def test_no_layer_has_a_way_round_it():
    layers = [contract for contract in contracts().values() if contract["type"] == "layers"]
    assert {tuple(contract.get("containers", ())) for contract in layers} == {(), ("flows",), ("tasks",), ("models",)}
    for contract in layers:
        assert not contract.get("allow_indirect_imports"), contract["name"]
        assert not contract.get("ignore_imports"), contract["name"]
        assert contract.get("exhaustive") or "containers" not in contract, contract["name"]


@pytest.mark.parametrize("statement", LIGHT)
def test_light_modules_leave_heavy_libraries_alone(statement):
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ended.stdout.split()) & LIGHT[statement] == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """Names in a wheel that is built from a copy of the tree, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    program = "from setuptools import build_meta\nprint(build_meta.build_wheel('dist'))"
    command = [sys.executable, "-W", "ignore", "-c", program]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    with zipfile.ZipFile(folder / "dist" / ended.stdout.split()[-1]) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_job_and_model(wheel):
    expected = [path for name in PACKAGES for path in tracked(name, "*.py")]
    expected += tracked("tasks", "*.j2") + tracked("tasks", "*.css") + tracked("configs", "*.yaml")
    expected += tracked("models/zoo", "*.json") + tracked("models/zoo", "*.safetensors")
    assert {path.relative_to(ROOT).as_posix() for path in expected} - wheel == set()


def test_the_wheel_holds_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


@pytest.mark.parametrize("path", tracked("configs", "*.yaml"), ids=lambda path: path.stem)
def test_every_file_in_configs_is_a_job_of_its_name(path):
    job = load_training_job(path.stem) if path.stem.startswith("train-") else load_job(path.stem)
    assert job.job == path.stem


def test_every_weights_file_of_the_zoo_has_a_card_of_its_name():
    cards, weights = tracked("models/zoo", "*.json"), tracked("models/zoo", "*.safetensors")
    assert {path.stem for path in weights} <= {path.stem for path in cards}


def test_the_services_parse_share_one_dockerfile_and_listen_on_this_machine_alone():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    own = {name: service for name, service in services.items() if "swathe" in service["image"]}
    assert len({service["build"]["dockerfile"] for service in own.values()}) == 1
    assert len(own) >= 5
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text()
    for name, service in own.items():
        target = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", service["build"]["target"])
        assert f" AS {target}\n" in dockerfile, name
        assert service["read_only"]
        assert "/data:ro" in str(service.get("volumes", "/data:ro")), name
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("${SWATHE_BIND:-127.0.0.1}:"), f"{name} listens on {port}"


def test_no_password_is_written_into_the_services():
    text = (ROOT / "docker" / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())
    lines = [line for line in text.splitlines() if "PASSWORD" in line]
    assert lines
    assert all("_FILE" in line or "/run/secrets/" in line for line in lines)
