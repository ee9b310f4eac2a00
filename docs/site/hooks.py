"""What the site has beside the pages in docs: reference made from the code, and pages that lie elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from reference import commands_page, described_keys, keys_page, seams_page

ROOT = Path(__file__).resolve().parents[2]
# Pages of the site by the files that they are, for whoever reads these without the site.
ELSEWHERE = {"laws.md": "tests/README.md", "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and those that lie elsewhere."""
    made = {
        "reference/commands.md": commands_page(),
        "reference/keys.md": keys_page(described_keys((ROOT / "docs" / "jobs.md").read_text())),
        "reference/seams.md": seams_page(),
    }
    made |= {page: relinked((ROOT / path).read_text(), path) for page, path in ELSEWHERE.items()}
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Lead links out of docs to the pages that the site has of those files."""
    return markdown if page.file.generated_by else relinked(markdown, f"docs/{page.file.src_uri}")


def on_post_page(output: str, page: Any, **_: object) -> str:
    """Refuse a page that would fetch something when it is opened: the site is read where there is no network."""
    fetched = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']?(https?:[^\"' >]+)", output)
    if fetched:
        raise PluginError(f"{page.file.src_uri} fetches {', '.join(fetched)}: put a copy beside the pages")
    return output


def relinked(text: str, path: str) -> str:
    """Return a file's text with its links as they have to be on its page of the site.

    Args:
        text: Markdown.
        path: Where the file lies in the tree.
    """
    pages = {source: page for page, source in ELSEWHERE.items()}
    own = pages.get(path, path.removeprefix("docs/"))

    def on_site(link: re.Match[str]) -> str:
        target, hash_, anchor = link[1].partition("#")
        named = normpath(join(dirname(path), target))
        page = pages.get(named, named.removeprefix("docs/"))
        return f"]({relpath(page, dirname(own) or '.')}{hash_}{anchor})"

    return re.sub(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)", on_site, text)
