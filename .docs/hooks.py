"""Site hooks: text and files taken from elsewhere in the repository, links between them, and formulas.

A page may contain three directives, each on a line of its own:

* `FILE: path` inserts the text of a file.
* `NAMES` inserts the table of the names of `import ddjax`.
* `PACKAGE: name` inserts the reference of a package.

Links are written relative to the file that contains them, as GitHub reads them. `links` turns them into links of the
site. TeX between dollar signs becomes MathML, so that a page needs no script.
"""

import importlib.util
import pathlib
import posixpath
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parents[1]
_found = importlib.util.spec_from_file_location("public", ROOT / ".docs" / "public.py")
public = importlib.util.module_from_spec(_found)
_found.loader.exec_module(public)
PAGES = ".docs/pages/"
FOLDERS = {"experiments/results/": "results/", "notebooks/": "notebooks/"}  # folder of the repository -> of the site
FILES = {".github/CONTRIBUTING.md": "contributing.md", ".github/CODE_OF_CONDUCT.md": "conduct.md"}
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.S)
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def address(path: str) -> str:
    """Where the site shows a file of the repository."""
    if path in FILES:
        return FILES[path]
    for folder, there in {PAGES: "", **FOLDERS}.items():
        if path.startswith(folder):
            return there + path.removeprefix(folder)
    raise ValueError(f"a page links to {path}, which is not on the site; it has {PAGES}, {', '.join(FOLDERS)}")


def links(text: str, source: str, page: str) -> str:
    """Relative links in the text of `source`, a file of the repository, as links of the site's `page`."""

    def on_site(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        return f"]({posixpath.relpath(address(path), posixpath.dirname(page) or '.')}{link[2] or ''})"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(on_site, part) for part in parts[::2]]
    return "".join(parts)


def formulas(text: str) -> str:
    """TeX as MathML, outside of code."""
    parts = CODE.split(text)
    for i in range(0, len(parts), 2):
        block = re.sub(r"\$\$(.+?)\$\$", lambda m: convert(m[1].strip(), display="block"), parts[i], flags=re.S)
        parts[i] = re.sub(r"\$([^$\n]+)\$", lambda m: convert(m[1]), block)
    return "".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the files that are stored outside of the folder of pages."""
    for folder, there in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.*")):
            if path.is_file() and path.suffix not in (".md", ".py"):
                name = there + path.relative_to(ROOT / folder).as_posix()
                files.append(File.generated(config, name, abs_src_path=str(path)))
    for path, name in FILES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Resolve links, then fill in the directives, then convert formulas."""
    name = page.file.src_uri
    source = next((path for path, there in FILES.items() if there == name), PAGES + name)
    text = links(markdown, source, name)
    text = re.sub(r"^FILE: (.+)$", lambda m: (ROOT / m[1]).read_text().rstrip(), text, flags=re.M)
    text = re.sub(r"^NAMES$", lambda m: public.front_door(), text, flags=re.M)
    text = re.sub(r"^PACKAGE: (.+)$", lambda m: public.page(m[1]), text, flags=re.M)
    return formulas(text)
