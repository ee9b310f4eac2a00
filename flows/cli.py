"""What the installed program ``swathe`` runs first, before anything else is imported."""

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

    try:
        interruption.listen()
        from flows.commands.app import main as command_line

        command_line()
    finally:
        interruption.end_if_told()
        interruption.is_over()


if __name__ == "__main__":
    main()
