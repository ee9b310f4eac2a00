"""Files and commands that start clusters, held to what can be checked without one."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import dask
import pytest
import yaml
from click import Command, Context
from dask.utils import parse_timedelta
from distributed import Security
from distributed.cli.dask_scheduler import main as scheduler_command
from distributed.cli.dask_worker import main as worker_command

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = ROOT / "docs" / "clusters"
COMPOSE = ROOT / "docker" / "compose.yaml"
PAGES = [ROOT / "docs" / "clusters.md", ROOT / "docs" / "operations.md", CLUSTERS / "certificates.sh"]


def services() -> dict:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def shown_commands() -> list[str]:
    pages = [re.sub(r" \\\n#? *", " ", page.read_text()) for page in PAGES]
    lines = [line.lstrip("#$ ") for page in pages for line in page.splitlines()]
    found = [re.sub(r"^(ssh \w+ )?([A-Z_]+=\S+ )*", "", line) for line in lines]
    return sorted({line for line in found if re.match(r"dask (scheduler|worker) ", line)})


def started_commands() -> list[str]:
    """Return what compose, Kubernetes and Slurm start."""
    from dask_jobqueue.slurm import SLURMJob

    manifest = yaml.safe_load((CLUSTERS / "kubernetes.yaml").read_text())["spec"]
    containers = [manifest[part]["spec"]["containers"][0]["args"] for part in ("worker", "scheduler")]
    composed = [service["command"] for service in services().values() if "command" in service]
    with dask.config.set(dask.config.merge(dask.config.config, yaml.safe_load((CLUSTERS / "slurm.yaml").read_text()))):
        secured = {"security": Security(), "protocol": "tls://"}
        script = SLURMJob(scheduler="tls://head:8786", name="swathe-1", **secured).job_script()
    assert "PYTHONSAFEPATH=1" in script
    assert "#SBATCH --gres=gpu:1" in script
    job = re.search(r"-m distributed\.cli\.dask_worker (.*)", script)
    assert job is not None
    found = [shlex.join(words) for words in (*containers, *composed)]
    # Certificates have to be there for the command to be read.
    arguments = re.sub(r"/shared/swathe/certificates/\S+", __file__, job[1])
    return [*(line for line in found if line.startswith("dask ")), f"dask worker {arguments}"]


@pytest.mark.parametrize("line", [*shown_commands(), *started_commands()])
def test_a_command_that_starts_a_part_of_a_cluster_is_one_of_this_dask(line):
    _, name, *arguments = shlex.split(line)
    command: Command = {"worker": worker_command, "scheduler": scheduler_command}[name]
    parsed = command.make_context(name, arguments)
    assert isinstance(parsed, Context)
    if name == "worker":
        assert parsed.params["nthreads"] == "3" or parsed.params["nthreads"] == 3
        assert parsed.params["resources"] in ("CPU=1", "GPU=1")
        assert parse_timedelta(parsed.params["lifetime"] or "1s") >= 1


@pytest.mark.parametrize("line", [*shown_commands(), *started_commands()])
def test_a_part_of_a_cluster_lets_nobody_in_without_a_certificate(line):
    _, name, *arguments = shlex.split(line)
    command: Command = {"worker": worker_command, "scheduler": scheduler_command}[name]
    told = command.make_context(name, arguments).params
    assert str(told["protocol"]).startswith("tls")
    # Its pages ask nobody.
    assert told["dashboard_address"].startswith("127.0.0.1:")
    assert name == "scheduler" or told["scheduler"].startswith("tls://")


def test_no_page_names_a_cluster_without_certificates():
    places = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*"), *(ROOT / "docker").rglob("*")]
    told = [path.name for path in places if path.is_file() and b"tcp://" in path.read_bytes()]
    assert told == []


def test_what_the_compose_file_gives_a_service_is_the_key_of_its_role_alone():
    roles = {
        "scheduler": "scheduler",
        "cpu-worker": "worker",
        "gpu-worker": "worker",
        "worker": "client",
        "swathe": "client",
    }
    for name, service in services().items():
        given = {secret for secret in service.get("secrets", []) if secret.startswith("dask_")}
        role = roles.get(name)
        assert given == ({"dask_ca", f"dask_{role}", f"dask_{role}_key"} if role else set()), name
        needed = role is not None
        assert (service["environment"].get("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION") == "true") is needed, name


def test_a_container_imports_and_believes_nothing_that_lies_among_products():
    assert "PYTHONSAFEPATH=1" in (ROOT / "docker" / "Dockerfile").read_text()
    # The command line alone is started where a user's relative paths begin.
    assert {name for name, one in services().items() if one.get("working_dir", "/out") != "/"} == {"database", "swathe"}


def known_keys(given: object, known: object, path: str = "") -> list[str]:
    """Return the keys of a configuration that the defaults of its package do not have."""
    if not isinstance(given, dict) or not isinstance(known, dict) or not known:
        return []
    unknown = [f"{path}{key}" for key in given if key not in known]
    return unknown + [
        bad for key in given if key in known for bad in known_keys(given[key], known[key], f"{path}{key}.")
    ]


@pytest.mark.parametrize("name", ["ssh", "slurm"])
def test_every_key_of_a_configuration_is_one_that_dask_knows(name):
    import dask_jobqueue
    import distributed

    defaults: dict = {}
    for package in (distributed, dask_jobqueue):
        folder = Path(str(package.__file__)).parent
        for file in folder.glob("*.yaml"):
            defaults = dask.config.merge(defaults, yaml.safe_load(file.read_text()) or {})
    given = yaml.safe_load((CLUSTERS / f"{name}.yaml").read_text())
    assert given
    assert [key for key in known_keys(given, defaults) if "scheduler-options" not in key] == []


def test_the_manifest_reads_only_inputs_and_runs_as_nobody_in_particular():
    manifest = yaml.safe_load((CLUSTERS / "kubernetes.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    for part in ("worker", "scheduler"):
        pod = manifest["spec"][part]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            assert mounts.keys() <= volumes
            assert mounts.get("inputs", {"readOnly": True})["readOnly"]
    ports = {port["name"] for port in manifest["spec"]["scheduler"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in manifest["spec"]["scheduler"]["service"]["ports"]} <= ports


def test_the_compose_file_is_one_by_the_published_schema():
    checker = shutil.which("check-jsonschema")
    if checker is None:
        pytest.skip("check-jsonschema is not installed")
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_services_name_only_services_secrets_and_profiles_that_there_are():
    compose = yaml.safe_load(COMPOSE.read_text())
    profiles = {"client", "server"}
    for name, service in compose["services"].items():
        assert set(service.get("depends_on", {})) <= set(compose["services"]), name
        assert set(service.get("secrets", [])) <= set(compose["secrets"]), name
        environment = service.get("environment", {})
        assert environment.get("PREFECT_PROFILE", "client") in profiles
        files = {Path(value).name for key, value in environment.items() if key.endswith("_FILE")}
        assert files <= set(service.get("secrets", [])), f"{name} reads a secret that it is not given"


def test_the_dockerfile_is_without_blame():
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    ended = subprocess.run([linter, str(ROOT / "docker" / "Dockerfile")], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_the_entrypoint_hands_on_secrets_and_refuses_empty_ones(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("user:pass word\n")
    entry = str(ROOT / "docker" / "entrypoint.sh")
    environment = {"PATH": "/usr/bin:/bin", "PREFECT_API_AUTH_STRING_FILE": str(secret)}
    ended = subprocess.run([entry, "env"], env=environment, capture_output=True, text=True, check=True)
    assert "PREFECT_API_AUTH_STRING=user:pass word" in ended.stdout.splitlines()
    assert "_FILE" not in ended.stdout
    secret.write_text("")
    ended = subprocess.run([entry, "env"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no secret in it" in ended.stderr
