"""What the installed program ``swathe`` runs first, before anything else is imported."""

import atexit
import os
import sys


def main() -> None:
    """Run the command line in a Python that imports what is installed, and nothing that lies about.

    Not beside this program, nor in the current folder, for this process and all that it starts.
    """
    if not sys.flags.safe_path:
        os.environ["PYTHONSAFEPATH"] = "1"
        # By the option: -E, or whoever cleans the environment, would have it begin anew for ever.
        os.execv(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]])
    from flows.orchestration.interruption import interruption

    left = _Left()
    # Registered first, so that it is the last of all.
    atexit.register(left.at_once)
    try:
        interruption.listen()
        from flows.commands.app import main as command_line

        command_line()
    except SystemExit as ended:
        left.code = ended.code
        raise
    finally:
        interruption.end_if_told()
        interruption.is_over()


class _Left:
    """How the command ended: with its exit code when it is done, or as something else that Python shall tell of."""

    code: object = None

    def at_once(self) -> None:
        """Leave without taking apart all that was imported, which takes half a second."""
        if isinstance(self.code, int):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self.code)


if __name__ == "__main__":
    main()
