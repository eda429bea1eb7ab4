"""Names with markup add no element and no attribute to a page."""

import html
import json

import jax.numpy as jnp
import numpy as np
from report_study import Outline, confusion, row, saved_set, seeds
from reports import report_on

from ddjax import preprocess
from ddjax.distilled import DistilledSet
from experiments.denoising.gallery import gallery
from experiments.display import figures
from experiments.report import report

EVIL = """"><img src=x onerror=alert(1)><script>alert(1)</script></title></style>'onload='alert(1)' `{}&lt;"""


def evil(name):
    return f"{name} {EVIL}"


def check(page, harmless):
    """Check that the page has the elements of the harmless page, no handler, and the payload only as text."""
    outline = Outline(page)
    assert not outline.open
    for tag, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert attributes.get("src") != "x"
    count = {tag: sum(one == tag for one, _ in outline.tags) for tag in ("script", "style", "title")}
    assert count == {tag: sum(one == tag for one, _ in Outline(harmless).tags) for tag in count}
    assert "<img src=x" not in page and "<script>alert" not in page
    assert html.escape("<img src=x") in page, "the payload must be on the page"


def written(root, name):
    names = [name(f"class {c}") for c in range(10)]
    rows = [
        made
        | {"dataset": name("data"), "command": name("python"), "hardware": name("cpu"), "class_names": names}
        | {"confusion": confusion(60), "recall": [0.6] * 10, "commit": name("0123")}
        for noise in (name("symmetric"), "clean")
        for method in ("full", name("toy"), "random")
        for made in seeds(0.6, method=method, noise=noise, best=0.7, picked=0.7)
    ]
    for i, made in enumerate(rows):
        folder = root / "runs" / made["fingerprint"]
        folder.mkdir(parents=True)
        (folder / "row.json").write_text(json.dumps(made | {"status": "done", "protocol": name(made["protocol"])}))
        if i % 3 == 0 and made["method"] != "full":
            saved_set(folder / "distilled")
    failure = row(0.0, method=name("broken"), seed=7) | {"status": "failed_nan", "reason": name("diverged")}
    (root / "failed.jsonl").write_text(json.dumps(failure) + "\n")
    assert report(root, quiet=True, title=name("title")) == 0
    return root / "report"


def test_the_report_page_escapes_what_comes_from_rows(tmp_path):
    pages = [written(tmp_path / kind, name) for kind, name in (("good", str), ("evil", evil))]
    check((pages[1] / "report.html").read_text(), (pages[0] / "report.html").read_text())
    drawings = [path.read_text() for path in pages[1].glob("*.svg")]
    assert drawings and any(html.escape("<img src=x") in text for text in drawings)
    for text in drawings:
        assert "<img" not in text and "<script" not in text and not Outline(text).open


def found(name):
    n, k, rng = 12, 3, np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    transform = preprocess.fit("standardize", images)
    distilled = DistilledSet(
        images=preprocess.apply(transform, images[:k]),
        labels=jnp.arange(k),
        num_classes=k,
        space=transform.fingerprint,
        preprocess=transform,
    )
    made = report_on(
        [name(f"{i}.png") for i in range(n)],
        np.arange(n) % k,
        rng.random(n),
        rng.random((n, k)),
        [name(f"class {c}") for c in range(k)],
        same_as=np.arange(n) // 2,
        score=name("posterior"),
        method=name("dance"),
        distilled=distilled,
    )
    return gallery(
        made, images, None, name("Suspicious labels"), [name("broken.png: not an image")], 12, made.given[::-1]
    )


def test_the_gallery_escapes_file_names_class_names_and_reasons():
    check(found(evil), found(str))


def test_names_of_classes_are_no_formulas_in_pictures(tmp_path):
    assert figures.confusion(np.eye(2), ("$_$", r"a$\b$"), tmp_path / "a.png").stat().st_size
