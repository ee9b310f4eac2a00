"""What is tried again: networks and mounts that may come back, never bad input; and no file name is told meanwhile."""

import errno
import inspect
from dataclasses import replace

import pytest
from rasterio.errors import RasterioIOError

from flows.batch import steps
from flows.orchestration.current import orchestrator
from flows.orchestration.orchestrator import Step, may_pass
from flows.orchestration.plain import PlainOrchestrator
from tasks.errors import SceneError, UnreachableSceneError, UnreadableSceneError
from tasks.files.transient import is_transient
from tasks.inputs.input import Input
from tasks.out.folder import OutFolder
from tasks.products.publish import is_published, publish

ITEM = Input(id="P-1", files={"file": "/mnt/Mustermann_Erika.tif"})
NAMED = "/mnt/Mustermann_Erika.tif"


def caused(by: Exception) -> SceneError:
    try:
        raise UnreadableSceneError(f"{NAMED}: damaged ({by})") from by
    except SceneError as error:
        return error


PASSING = [
    OSError(errno.ESTALE, "Stale file handle", NAMED),
    OSError(errno.EIO, "Input/output error", NAMED),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    TimeoutError("timed out"),
    RasterioIOError("HTTP response code: 503"),
    RasterioIOError("CURL error: Could not resolve host: example.org"),
]
LASTING = [
    FileNotFoundError(errno.ENOENT, "No such file or directory", NAMED),
    PermissionError(errno.EACCES, "Permission denied", NAMED),
    OSError(errno.ENOSPC, "No space left on device"),
    RasterioIOError("HTTP response code: 404"),
    RasterioIOError(f"'{NAMED}' not recognized as being in a supported file format."),
    ValueError("wrong"),
    MemoryError(),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_come_back_is_tried_again_under_a_name_of_its_own(error):
    for one in (error, caused(error)):
        assert is_transient(one)
        with (
            pytest.raises(UnreachableSceneError, match=r"P-1: cannot be reached at the moment .*Try again") as found,
            steps._pseudonymised(ITEM),
        ):
            raise one
        assert "Mustermann" not in str(found.value)
        assert may_pass(found.value)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_stays_wrong_is_not_tried_again(error):
    for one in (error, caused(error)):
        assert not is_transient(one)
        with (
            pytest.raises(type(one) if "Mustermann" not in str(one) else SceneError) as found,
            steps._pseudonymised(ITEM),
        ):
            raise one
        assert "Mustermann" not in str(found.value)
        assert not may_pass(found.value)


def test_which_steps_are_tried_again(monkeypatch):
    declared = []
    monkeypatch.setattr(PlainOrchestrator, "run", lambda self, step, *args, **kwargs: declared.append(step))
    for name, value in vars(steps).items():
        # What the decorator made, and no other function of the module.
        own = inspect.isfunction(value) and value.__module__ == steps.__name__ and not name.startswith("_")
        if own and hasattr(value, "__wrapped__"):
            value()
    again = {step.function.__name__ for step in declared if step.retry_delays_s}
    assert again == {"identify_input", "plan", "segment_scene", "publish"}
    assert {step.function.__name__ for step in declared} > again


def failing_first(n: int, error: Exception):
    """A step's function that fails so often, and says at last how often it was called."""
    calls = iter(range(n + 1))

    def work() -> int:
        call = next(calls)
        if call < n:
            raise error
        return call

    return work


def test_a_step_is_tried_again_after_each_delay_and_not_once_more(monkeypatch):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    passing = UnreachableSceneError("P-1: cannot be reached")
    step = Step(function=failing_first(3, passing), name="plan", run_name="plan", retry_delays_s=(2, 10, 30))
    assert PlainOrchestrator().run(step) == 3
    assert waited == [2, 10, 30]
    with pytest.raises(UnreachableSceneError):
        PlainOrchestrator().run(replace(step, function=failing_first(4, passing)))
    del waited[:]
    with pytest.raises(SceneError):
        PlainOrchestrator().run(replace(step, function=failing_first(1, SceneError("bad"))))
    assert waited == []


@pytest.mark.usefixtures("prefect_server")
def test_prefect_tries_the_same_steps_again_as_often():
    from prefect import flow

    from flows.server.prefect_orchestrator import on_prefect

    passing = UnreachableSceneError("P-1: cannot be reached")
    step = Step(function=failing_first(3, passing), name="plan", run_name="plan", retry_delays_s=(0, 0, 0))
    lasting = replace(step, function=failing_first(1, SceneError("bad")))

    @flow
    def batch() -> int:
        with on_prefect():
            with pytest.raises(SceneError):
                orchestrator().run(lasting)
            return orchestrator().run(step)

    assert batch() == 3


def test_publishing_begun_again_goes_on_wherever_it_was(tmp_path, monkeypatch):
    out = OutFolder(tmp_path / "out")
    finished = out.work("a", "k") / "product"
    finished.mkdir(parents=True)
    (finished / "mask.tif").write_bytes(b"mask")
    moments = iter(range(10))

    def failing(moment):
        def link_to(self, target):
            if next(moments) < moment:
                raise OSError(errno.ESTALE, "Stale file handle")
            return symlink_to(self, target)

        return link_to

    symlink_to = type(finished).symlink_to
    monkeypatch.setattr(type(finished), "symlink_to", failing(1))
    with pytest.raises(OSError, match="Stale"):
        publish(out, "a", "k", finished)
    assert not finished.exists(), "the product had been moved"
    assert publish(out, "a", "k", finished) == out.product("a", "k")
    assert is_published(out, "a", "k")
    assert (out.link("a") / "mask.tif").read_bytes() == b"mask"
