"""The findings about the labels of a training set, as one record that can be saved."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ddjax.data.identical import conflicts, described
from ddjax.distilled import DistilledSet
from ddjax.distilled.saving import load_distilled, save_distilled
from ddjax.names import shown
from ddjax.ranges import Natural, checked
from ddjax.storage import manifest
from ddjax.storage.rows import versions

KIND = manifest.Kind("ddjax-denoise-report", 3, "a denoise report", unsealed=(2,))
_ARRAYS = ("ids", "same_as", "given", "suggested", "suspicion", "wrong", "truth", "flagged")
_PLAIN = ("class_names", "score", "method", "expected_precision", "noise_rate", "seconds", "settings")
_SCORE = "score."


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiseReport:
    """Scores, suggestions and flags for every label, in the order of the examples handed in.

    Attributes:
      ids: what each example is called: a path, or its row.
      same_as: the first row with the same pixels or features: an example's own row, unless it occurred before.
      given: the class number of each label, as handed in.
      suspicion: the score of the name `score`; larger is more suspicious. All of them are in `scores`.
      wrong: the probability that the given label is wrong.
      truth: the probability of each class, given the example and its label.
      flagged: whether the label is taken for wrong.
      suggested: the given label, or for a flagged one the likeliest other.
      class_names: of the class numbers.
      method: what judged.
      expected_precision: the share of the flagged labels that are expected to be wrong; NaN where none is flagged.
      noise_rate: the estimated share of wrong labels.
      seconds: wall time by stage.
      settings: what the run was asked for.
      distilled: the distilled set that the students saw, where there is one.
    """

    ids: np.ndarray  # str [n]
    same_as: Int[np.ndarray, "n"]
    given: Int[np.ndarray, "n"]
    suggested: Int[np.ndarray, "n"]
    suspicion: Float[np.ndarray, "n"]
    wrong: Float[np.ndarray, "n"]
    truth: Float[np.ndarray, "n k"]
    flagged: Bool[np.ndarray, "n"]
    scores: Mapping[str, Float[np.ndarray, "n"]]
    class_names: tuple[str, ...]
    score: str
    method: str
    expected_precision: float
    noise_rate: float
    seconds: Mapping[str, float]
    settings: Mapping[str, Any]
    distilled: DistilledSet | None = None

    @property
    def rank(self) -> Int[np.ndarray, "n"]:
        """0 for the most suspicious label."""
        ranks = np.empty(len(self.given), int)
        ranks[self.order()] = np.arange(len(self.given))
        return ranks

    def order(self) -> Int[np.ndarray, "n"]:
        """The rows, the most suspicious first. The loss of the given label decides between equal scores."""
        return np.lexsort((-self.scores["loss"], -self.suspicion))

    @property
    def likeliest_other(self) -> Int[np.ndarray, "n"]:
        """The likeliest class beside the given label."""
        others = np.where(np.eye(len(self.class_names), dtype=bool)[self.given], -1, self.truth)
        return others.argmax(axis=1).astype(np.int32)

    @property
    def looks_like(self) -> Int[np.ndarray, "n"]:
        """The suggestion of each flagged label, and the likeliest class of the others."""
        return np.where(self.flagged, self.suggested, self.truth.argmax(axis=1))

    @property
    def cleaned(self) -> Int[np.ndarray, "n"]:
        """The labels with every flagged one replaced by its suggestion."""
        return np.where(self.flagged, self.suggested, self.given)

    @property
    def corrections(self) -> list[tuple[tuple[int, int], int]]:
        """The given and the suggested class of flagged labels, with the number of such labels, most frequent first."""
        classes = np.stack([self.given, self.suggested], axis=1)[self.flagged]
        return collections.Counter(sorted(map(tuple, classes.tolist()))).most_common()

    @property
    def conflicts(self) -> list[Int[np.ndarray, "m"]]:
        """The rows of identical examples with several given labels. Of an image, at most one of these labels is right.

        Equal rows of a table may be different examples, whose labels may differ.
        """
        return conflicts(self.same_as, self.given)

    @property
    def table(self) -> Any:
        """A pandas DataFrame, a row for each example: id, given_label, suggested_label, score, rank, flagged."""
        import pandas  # loaded only for tables

        return pandas.DataFrame(self.columns())

    def columns(self) -> dict[str, Any]:
        """The columns of `table`, without pandas."""
        names = np.array(self.class_names)
        return {
            "id": self.ids,
            "given_label": names[self.given],
            "suggested_label": names[self.suggested],
            "score": self.suspicion,
            "rank": self.rank,
            "flagged": self.flagged,
        }

    def get_issues(self, issue_name: str = "label") -> Any:
        """The frame of cleanlab's Datalab: is_label_issue, label_score (small is bad), given_label, predicted_label.

        The predicted label is `looks_like`, also where the given label is not flagged.
        """
        if issue_name != "label":
            raise ValueError(f"only issues of kind 'label' are looked for; got {issue_name!r}")
        import pandas  # loaded only for tables

        names = np.array(self.class_names)
        return pandas.DataFrame(
            {
                "is_label_issue": self.flagged,
                "label_score": 1 - self.wrong,
                "given_label": names[self.given],
                "predicted_label": names[self.looks_like],
            }
        )

    @checked
    def report(self, most: Natural = 10) -> str:
        """The findings in a few lines: how many labels are doubted, which classes, and the most suspicious.

        Control characters in names are escaped, so each name stays on its line.
        """
        n, names, ids = len(self.given), [shown(name) for name in self.class_names], self.ids
        count = int(self.flagged.sum())
        lines = [
            f"{n} labels of {len(names)} classes, judged by {self.method}; score: {self.score}",
            f"estimated share of wrong labels: {100 * self.noise_rate:.1f} %",
            f"flagged: {count} ({100 * count / n:.1f} %)"
            + (f", of which {100 * self.expected_precision:.0f} % are expected to be wrong" if count else ""),
            *self._unflagged(),
            f"time: {', '.join(f'{stage} {seconds:.1f} s' for stage, seconds in self.seconds.items())}",
        ]
        if count:
            lines += ["", "most frequent corrections (given -> suggested):"]
            for (given, suggested), times in self.corrections[:5]:
                lines.append(f"  {names[given]} -> {names[suggested]}: {times}")
        if twice := self.conflicts:
            some = f", the first {most} of them" if len(twice) > most else ""
            lines += ["", f"identical examples with several labels: {len(twice)}{some}"]
            lines += [f"  {described(rows, ids, np.array(names)[self.given])}" for rows in twice[:most]]
        rows, believed = self.order()[:most], self.looks_like
        lines += ["", f"the {len(rows)} most suspicious:"] if most else []
        width = max((len(shown(ids[row])) for row in rows), default=0)
        for row in rows:
            mark = "flagged" if self.flagged[row] else ""
            lines.append(
                f"  {shown(ids[row]):{width}}  given {names[self.given[row]]}, looks like {names[believed[row]]}  "
                f"score {self.suspicion[row]:.3f}  {mark}".rstrip()
            )
        return "\n".join(lines)

    def _unflagged(self) -> list[str]:
        """A line that says so if most of the labels that are estimated to be wrong are not flagged."""
        count, asked = round(self.noise_rate * len(self.given)), self.settings.get("precision")
        if asked is None or self.method == "cleanlab" or count <= 2 * int(self.flagged.sum()):
            return []  # cleanlab's flags depend on no precision
        return [
            f"about {count} labels are estimated to be wrong, but which ones is not sure enough for a precision of "
            f"{asked:g}: a lower precision flags more, and the score ranks all"
        ]

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Write report.npz (without pickle), its manifest report.json, and the distilled set.

        Returns:
          The folder.

        Raises:
          OSError: a file could not be written.
        """
        folder = pathlib.Path(folder)
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {_SCORE + name: values for name, values in self.scores.items()}
        if self.distilled is not None:
            save_distilled(self.distilled, folder / "distilled")
        fields = {name: getattr(self, name) for name in _PLAIN}
        fields |= {"has_distilled": self.distilled is not None, "versions": versions()}
        if np.isnan(self.expected_precision):
            fields["expected_precision"] = None
        manifest.save(folder / "report", KIND, arrays, fields, compress=True)
        return folder

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> "DenoiseReport":
        """Read the report saved in `folder`.

        Raises:
          ValueError: a file is missing or damaged, or was written by another version of the format.
        """
        folder = pathlib.Path(folder)
        arrays, meta = manifest.load(folder / "report", KIND, ("has_distilled", *_PLAIN))
        plain = {name: meta[name] for name in _PLAIN}
        plain["class_names"] = tuple(plain["class_names"])
        if plain["expected_precision"] is None:
            plain["expected_precision"] = float("nan")
        return cls(
            **{name: arrays[name] for name in _ARRAYS},
            **plain,
            scores={name.removeprefix(_SCORE): a for name, a in arrays.items() if name.startswith(_SCORE)},
            distilled=load_distilled(folder / "distilled") if meta["has_distilled"] else None,
        )
