"""The templates of pages, and the policy that pages give themselves."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_PACKAGE = "tasks.reports"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = _link
    return environment


def _link(relative: str) -> str:
    """Return a relative path as an address that stays beside the page, whatever the path is called."""
    return quote(relative, errors="replace")


@cache
def _style() -> str:
    return files(_PACKAGE).joinpath("page.css").read_text(encoding="utf-8")


def render(template: str, values: Mapping[str, Any], pictures: str) -> bytes:
    """Fill a template in.

    Args:
        template: Its name.
        values: What it shows; text is escaped.
        pictures: Where the page may take pictures from, as a content security policy says it. Its one style sheet is
            allowed by its hash, everything else is forbidden.
    """
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src {pictures}; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    # Ours, and not to be escaped: a style sheet is no text.
    page = _environment().get_template(template).render(**values, css=Markup(style), csp=policy)
    # What came from file names may hold halves of characters, and characters that no page may hold.
    return _FORBIDDEN.sub("\ufffd", page.lstrip()).encode("utf-8", "replace")
