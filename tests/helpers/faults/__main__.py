"""``python -m faults [ROW...] [--times N] [--seed N] [--port N] [--json FILE]``: the fault table, row by row."""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path

from faults.inspection import Product, final_problems, product_of, visible_problems
from faults.rows import ROWS, Fault, Scenario
from faults.runs import HUNG, Run, swathe
from faults.scenes import BAD, GOOD, write_good, write_inputs
from faults.world import GHOST_S, POOL, World, wait_for

_HEARTBEAT_S = 30
# So many times the wanted number of tries are made; those that came after the end of a run do not count.
_PATIENCE = 3
_FAILED_SCENES, _REFUSED = 1, 2


@dataclass
class Result:
    """What a row came to.

    Attributes:
        row: Its name.
        times: How often it was tried.
        met: How often the fault met a run that had begun and not ended.
        went_on: How often the run ended well without being started again.
        problems: What the inspection found.
        ended: How often the first run ended how.
    """

    row: str
    times: int = 0
    met: int = 0
    went_on: int = 0
    problems: list[str] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)


class Bench:
    """Scenes, what they come to when nobody disturbs, and the services."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.chmod(0o755)
        self.folder = folder
        self.world = World(folder, port)
        self.scenes, self.job = write_inputs(folder)
        self.seconds = 0.0
        self.expected: dict[str, Product] = {}
        self.replaced: dict[str, Product] = {}
        self._number = 0

    def arguments(self, out: Path) -> list[str]:
        return ["segment", str(self.scenes), "--job", str(self.job), "--out", str(out), "--cluster",
                self.world.cluster, "--device", "cpu"]  # fmt: skip

    def begin(self, out: Path) -> Run:
        return swathe(self.arguments(out), self.folder / "logs" / f"{out.name}.txt")

    def prepare(self, needs: set[str], rows: list[str]) -> None:
        """Start what the rows need, and run once undisturbed, and once with every scene replaced."""
        if "partition" in rows:
            _make_networks(self.world)
        if "postgres" in needs:
            self.world.start_database()
        self.world.start_server()
        self.world.automate(Path(str(files("flows").joinpath("automations.yaml"))))
        self.world.start_cluster()
        if "prefect-worker" in needs:
            self._make_pool()
            self.world.start_prefect_worker()
        self._undisturbed(self.folder / "warm", {})
        self._undisturbed(self.folder / "untouched", self.expected)
        if "input" in rows:
            for number, name in enumerate(GOOD):
                write_good(self.scenes / f"{name}.tif", 100 + number)
            self._undisturbed(self.folder / "replaced", self.replaced)
            self.restore()

    def restore(self) -> None:
        for number, name in enumerate(GOOD):
            write_good(self.scenes / f"{name}.tif", number)

    def fresh_out(self) -> Path:
        self._number += 1
        return self.folder / f"out-{self._number}"

    def _undisturbed(self, out: Path, found: dict[str, Product]) -> None:
        begin = time.monotonic()
        code = self.begin(out).wait(300)
        self.seconds = time.monotonic() - begin
        if code != _FAILED_SCENES:
            raise SystemExit(f"the undisturbed run ended with {code}: {self.folder}/logs/{out.name}.txt")
        found |= {name: product_of(out / name) for name in GOOD}
        if problems := final_problems(out, found or {name: product_of(out / name) for name in GOOD}, (BAD,)):
            raise SystemExit(f"the undisturbed run: {problems}")

    def _make_pool(self) -> None:
        command = [sys.executable, "-m", "prefect", "work-pool", "create", POOL, "--type", "process", "--overwrite"]
        subprocess.run(command, env=os.environ, check=True, capture_output=True)
        flow = self.world.post("/flows/", {"name": "segment"})
        deployment = {"name": "faults", "flow_id": flow["id"], "entrypoint": "flows.batch.segment.segment",
                      "work_pool_name": POOL, "pull_steps": []}  # fmt: skip
        self.deployment = self.world.post("/deployments/", deployment)["id"]

    def submit(self, out: Path) -> str:
        batch = {"inputs": [str(self.scenes)], "job": str(self.job), "out": str(out), "device": "cpu",
                 "cluster": self.world.cluster}  # fmt: skip
        body = {"parameters": {"batch": batch}, "state": {"type": "SCHEDULED"}}
        return self.world.post(f"/deployments/{self.deployment}/create_flow_run", body)["id"]


def main() -> None:
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="swathe-faults-"))
    rows = arguments.rows or list(ROWS)
    bench = Bench(folder, arguments.port)
    os.environ.update(bench.world.client)
    # Everything that a run needs, once: what is forked has it.
    import tasks.analysis.area  # noqa: F401

    # The services shall not outlive a bench that is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    results = []
    try:
        bench.prepare({need for row in rows for need in ROWS[row].needs}, rows)
        say(f"undisturbed: {bench.seconds:.1f} s; seed {arguments.seed}; {folder}")
        for row in rows:
            results.append(_try_row(bench, row, arguments))
            if arguments.json:
                arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=2))
            say(_line(results[-1]))
    finally:
        bench.world.stop()
        _remove_networks(bench.world)
    if not any(result.problems for result in results):
        shutil.rmtree(folder)
    sys.exit(any(result.problems for result in results))


def _try_row(bench: Bench, row: str, arguments: argparse.Namespace) -> Result:
    fault, result = ROWS[row], Result(row)
    wanted = arguments.times or fault.times
    for number in range(_PATIENCE * wanted):
        if result.met == wanted:
            break
        rng = random.Random(f"{arguments.seed} {row} {number}")
        out = bench.fresh_out()
        before = len(result.problems)
        attempt = _through_prefect if row == "prefect-worker" else _on_command
        attempt(bench, fault, row, out, rng, result)
        result.times += 1
        for problem in result.problems[before:]:
            say(f"  {row} {number} ({out.name}): {problem}")
        if len(result.problems) == before:
            shutil.rmtree(out, ignore_errors=True)
        say(f"  {row} {number}: met {result.met}, went on {result.went_on}, {len(result.problems) - before} problems")
        if arguments.until and time.time() > arguments.until:
            break
    result.problems += _ghosts(bench.world)
    return result


def _on_command(bench: Bench, fault: Fault, row: str, out: Path, rng: random.Random, result: Result) -> None:
    if row == "disk-full":
        out.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={rng.randrange(300, 3000)}k", "tmpfs", str(out)], check=True
        )
    run = bench.begin(out)
    scenario = Scenario(bench.world, run, rng, bench.scenes, out)
    _await_moment(bench, scenario, fault)
    result.met += run.poll() is None
    fault.strike(scenario)
    code = run.wait(fault.limit_s)
    result.ended[_how(code)] = result.ended.get(_how(code), 0) + 1
    if code == HUNG:
        result.problems.append(f"the run hung for {fault.limit_s:.0f} s")
    expected = dict(bench.expected)
    either = {name: tuple(x for x in (bench.expected[name], bench.replaced.get(name)) if x) for name in expected}
    result.problems += [f"right after: {problem}" for problem in visible_problems(out, either)]
    went_on = not _missing(out)
    result.went_on += went_on
    # Where the fault came before the run had a flow, a refusal by name is all that can be asked for.
    refused = code == _REFUSED and not (out / "state.sqlite").exists()
    if fault.survives and not went_on and not refused:
        result.problems.append(f"the run did not go on by itself; it ended with {_how(code)}")
    result.problems += fault.inspect(scenario)
    fault.mend(scenario)
    again = bench.begin(out).wait(fault.limit_s)
    if again != _FAILED_SCENES:
        result.problems.append(f"the run after it ended with {_how(again)}")
    if row == "input":
        expected = _now_expected(bench)
        bench.restore()
    result.problems += final_problems(out, expected, (BAD,)) + visible_problems(out, either)
    if row == "disk-full":
        subprocess.run(["umount", str(out)], check=True)


def _await_moment(bench: Bench, scenario: Scenario, fault: Fault) -> None:
    if fault.moment == "flow":
        ledger = scenario.out / "state.sqlite"
        wait_for(lambda: ledger.exists() or scenario.run.poll() is not None, "the flow's begin")
        time.sleep(scenario.rng.uniform(0, bench.seconds / 4))
    elif fault.moment == "any":
        time.sleep(scenario.rng.uniform(0, bench.seconds))


def _now_expected(bench: Bench) -> dict[str, Product]:
    """Return what the inputs as they lie there now have to come to."""
    found = {}
    for number, name in enumerate(GOOD):
        probe = write_good(bench.folder / "probe.tif", 100 + number)
        is_new = probe.read_bytes() == (bench.scenes / f"{name}.tif").read_bytes()
        found[name] = bench.replaced[name] if is_new else bench.expected[name]
    return found


def _through_prefect(bench: Bench, fault: Fault, row: str, out: Path, rng: random.Random, result: Result) -> None:
    """Let the Prefect worker start the run; what it started goes on without it."""
    flow_run = bench.submit(out)
    scenario = Scenario(bench.world, Run(0, 0), rng, bench.scenes, out)
    wait_for(lambda: flow_run not in bench.world.runs_in("SCHEDULED"), "the run's start")
    time.sleep(rng.uniform(0, 1.5 * bench.seconds))
    result.met += flow_run in bench.world.runs_in("RUNNING", "PENDING")
    fault.strike(scenario)
    time.sleep(1)
    fault.mend(scenario)
    try:
        wait_for(lambda: flow_run not in bench.world.runs_in("RUNNING", "PENDING"), "the run's end", fault.limit_s)
    except TimeoutError:
        result.problems.append("the run did not end by itself")
    result.went_on += not _missing(out)
    result.problems += final_problems(out, bench.expected, (BAD,)) if out.exists() else ["nothing was done"]


def _missing(out: Path) -> bool:
    return not all((out / name).is_symlink() for name in GOOD)


def _how(code: int) -> str:
    names = {0: "all well", 1: "failed scenes", 2: "refused", HUNG: "hung", -9: "killed", 70: "traceback"}
    return names.get(code, str(code))


def _ghosts(world: World) -> list[str]:
    """Return a problem where runs are still "Running" after the automation's time."""
    try:
        wait_for(lambda: not world.runs_in("RUNNING", "PENDING", "CANCELLING"), "the end of all runs",
                 _HEARTBEAT_S + GHOST_S + 120)  # fmt: skip
    except TimeoutError:
        return [f"{len(world.runs_in('RUNNING', 'PENDING', 'CANCELLING'))} ghost runs in Prefect"]
    return []


def _make_networks(world: World) -> None:
    """Give each worker a network namespace behind a bridge that the scheduler listens on."""
    bridge, net = f"swf{world.port}", f"10.{world.port % 200 + 20}.7"
    _ip("link", "add", bridge, "type", "bridge")
    _ip("addr", "add", f"{net}.1/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    for number in range(2):
        space, outer, inner = f"{bridge}n{number}", f"{bridge}b{number}", f"{bridge}i{number}"
        _ip("netns", "add", space)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space)
        _ip("link", "set", outer, "master", bridge)
        _ip("link", "set", outer, "up")
        for command in (["link", "set", "lo", "up"], ["addr", "add", f"{net}.{number + 2}/24", "dev", inner],
                        ["link", "set", inner, "up"]):  # fmt: skip
            _ip("-n", space, *command)
    world.host = f"{net}.1"
    world.prefix = {number: ["/usr/sbin/ip", "netns", "exec", f"{bridge}n{number}"] for number in range(2)}


def _remove_networks(world: World) -> None:
    for number in world.prefix:
        subprocess.run(["ip", "netns", "del", f"swf{world.port}n{number}"], check=False)
    if world.prefix:
        subprocess.run(["ip", "link", "del", f"swf{world.port}"], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _line(result: Result) -> str:
    ended = ", ".join(f"{count} {how}" for how, count in result.ended.items())
    return (
        f"| {ROWS[result.row].title} | {result.times} | {result.met} | {result.went_on} | {ended} | "
        f"{len(result.problems) or 'none'} |"
    )


def say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS])
    parser.add_argument("--times", type=int, help="Instead of each row's own number.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=5200)
    parser.add_argument("--json", type=Path, help="Where results go as well.")
    parser.add_argument("--until", type=float, help="Begin no further repetition after this time (seconds since 1970).")
    return parser.parse_args()


if __name__ == "__main__":
    main()
