"""``swathe key``: the institution's key, which UIDs and pseudonyms are made with."""

from __future__ import annotations

import typer

from flows.commands.options import OUT

key_app = typer.Typer(
    help="The institution's key, which UIDs and pseudonyms are made with; it is never shown.", no_args_is_help=True
)


@key_app.command("show")
def show_key() -> None:
    """Print the key's id and where it lies."""
    from tasks.files.keys import default_key_path, load_key

    path = default_key_path()
    OUT.print(f"key {load_key(path).id}  {path}", highlight=False, soft_wrap=True)


@key_app.command("create")
def make_key() -> None:
    """Make a key where there is none, readable by you alone."""
    from tasks.files.keys import create_key, default_key_path

    path = default_key_path()
    OUT.print(f"key {create_key(path).id}  {path}", highlight=False, soft_wrap=True)


@key_app.command("rotate")
def replace_key() -> None:
    """Put a new key in the place of the old one, which is kept beside it under its id."""
    from tasks.files.keys import default_key_path, rotate_key

    key, old = rotate_key(default_key_path())
    OUT.print(f"key {key.id}  {default_key_path()}\nold  {old}", highlight=False, soft_wrap=True)
