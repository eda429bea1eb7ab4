"""What the site takes from elsewhere, so that nothing is written twice, and formulas without a script from afar.

In a page, a line `README: Title` stands for that section of the README, `FILE: path` for a file's text, `NAMES` for
the names of `import ddjax`, and `PACKAGE: name` for a package's reference. Pictures of results, the contributing guide
and the code of conduct come from where they live. TeX between dollar signs becomes MathML, which browsers read.
"""

import importlib.util
import pathlib
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parents[1]
_found = importlib.util.spec_from_file_location("public", ROOT / ".docs" / "public.py")
public = importlib.util.module_from_spec(_found)
_found.loader.exec_module(public)
RESULTS = "experiments/results"
ELSEWHERE = {"contributing.md": ".github/CONTRIBUTING.md", "conduct.md": ".github/CODE_OF_CONDUCT.md"}
SOURCE = "https://github.com/ddjax/ddjax/blob/main/"
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.S)


def section(title: str, text: str) -> str:
    """The README's section of this title, its sub-headings one level up."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    if not found:
        raise ValueError(f"README.md has no section {title!r}")
    return re.sub(r"^###", "##", found[1].strip(), flags=re.M)


def links(text: str) -> str:
    """Links into the repository as links to its pages; pictures as those of the site."""
    text = re.sub(rf"\]\({RESULTS}/([^)]+\.(?:png|svg))\)", r"](pictures/\1)", text)
    return re.sub(r"\]\((?!https?:|pictures/|#|[\w/]+\.md)([^)]+)\)", rf"]({SOURCE}\1)", text)


def formulas(text: str) -> str:
    """TeX as MathML, outside of code."""
    parts = CODE.split(text)
    for i in range(0, len(parts), 2):
        block = re.sub(r"\$\$(.+?)\$\$", lambda m: convert(m[1].strip(), display="block"), parts[i], flags=re.S)
        parts[i] = re.sub(r"\$([^$\n]+)\$", lambda m: convert(m[1]), block)
    return "".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add what lives elsewhere."""
    for path in sorted(path for path in (ROOT / RESULTS).iterdir() if path.suffix in (".png", ".svg")):
        files.append(File.generated(config, f"pictures/{path.name}", abs_src_path=str(path)))
    for name, path in ELSEWHERE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in sections of the README, then formulas."""
    readme = (ROOT / "README.md").read_text()
    text = re.sub(r"^README: (.+)$", lambda m: links(section(m[1], readme)), markdown, flags=re.M)
    text = re.sub(r"^FILE: (.+)$", lambda m: (ROOT / m[1]).read_text().rstrip(), text, flags=re.M)
    text = re.sub(r"^NAMES$", lambda m: public.front_door(), text, flags=re.M)
    text = re.sub(r"^PACKAGE: (.+)$", lambda m: public.page(m[1]), text, flags=re.M)
    return formulas(text)
