"""Find wrong labels in a data set.

Example: python -m experiments.denoise path/to/folder --out cleaned

Example: python -m experiments.denoise --features embeddings.npy --labels labels.csv
"""

import os
from typing import Annotated

import tyro

from ddjax import ranges
from ddjax.storage.files import expanded
from experiments.denoising.settings import Settings, check, method_options
from experiments.display.cli import check_folder, main, make_deterministic, use_data_dir, with_huge_pages

DESCRIPTION = """Judge every label of images, of features, or of predictions.

Predictors learn from the given labels, and their predictions judge every label. An unknown --method lists them.

Writes labels.csv, a cleaned copy of the labels, gallery.html, the distilled set, and report.npz with report.json, which
ddjax.DenoiseReport.load reads. SIGTERM and Ctrl-C save the run and exit with status 75. The same command continues."""


def denoise(settings: Annotated[Settings, tyro.conf.arg(name="")]) -> int:
    """Read the data, judge their labels, write the files and print a summary.

    Raises:
      ValueError: a setting or the data are wrong; nothing has been trained.
    """
    ranges.fields(settings)
    check_folder("--out", settings.out and expanded(settings.out))
    use_data_dir(settings.data_dir)
    if settings.quiet:
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"  # the package datasets reads it when it is imported
    if settings.deterministic:
        make_deterministic()
    from experiments.denoising import exports, running
    from experiments.denoising.decisions import decided
    from experiments.denoising.reading import output_of, read
    from experiments.denoising.stages import what_was_read
    from experiments.denoising.unread import refuse_unread
    from experiments.display.progress import View

    check(settings)
    options, rate = method_options(settings)
    view = View(settings.quiet)
    task = read(settings, options, rate, view)
    for line in what_was_read(task):
        view.say(line)
    refuse_unread(settings, task)
    exports.check(task, settings)
    out = output_of(settings, task.name)
    reports = running.judged(settings, task, options)
    lines = []
    if settings.decisions:
        reports[0], words = decided(reports[0], settings.decisions)
        lines += ["", words]
    view.say(f"writing to {out}")
    written = running.write(reports[0], task, settings, out)
    if task.skipped:
        lines.append(f"files that could not be read: {len(task.skipped)}; {out / 'skipped.txt'} lists them")
    if task.clean is not None:
        lines += ["", running.measure(reports, task, rate, settings, out)]
    if not settings.quiet:
        print("\n".join([reports[0].report(), *lines, "", f"written to {out}: {', '.join(written)}"]))
    return 0


if __name__ == "__main__":
    with_huge_pages()
    main(denoise, DESCRIPTION)
