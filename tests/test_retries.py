"""What is tried again: networks and mounts that may come back, never bad input; and no file name is told meanwhile."""

import errno

import pytest
from prefect.client.schemas.objects import TaskRun
from prefect.states import Failed
from rasterio.errors import RasterioIOError

from flows import steps
from tasks.errors import SceneError, UnreachableSceneError, UnreadableSceneError
from tasks.outfolder import OutFolder
from tasks.products.publish import is_published, publish
from tasks.scenes.input import Input
from tasks.transient import is_transient

ITEM = Input("P-1", {"file": "/mnt/Mustermann_Erika.tif"})
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
        assert may_be_tried_again(found.value)


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
        assert not may_be_tried_again(found.value)


def may_be_tried_again(error: BaseException) -> bool:
    run = TaskRun(task_key="k", dynamic_key="0")
    return steps.may_be_tried_again(steps.identify_input, run, Failed(data=error, message="m"))


def test_which_steps_are_tried_again():
    again = {name for name in dir(steps) if getattr(getattr(steps, name), "retries", 0)}
    assert again == {"identify_input", "plan", "segment_scene", "publish"}
    assert all(getattr(steps, name).retry_condition_fn is steps.may_be_tried_again for name in again)


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
