# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Find wrong labels in five minutes
#
# The training set is distilled into a few images. New networks train on these images alone and then judge every label
# of the set. They have not seen the images that they judge, so they have not memorised their wrong labels.

# %%
# Install ddjax if it is missing. The installed JAX is kept, because its version fits the accelerator.
import importlib.metadata
import importlib.util
import os
import subprocess
import sys

# What pip installs: a clone beside this notebook, else the checkout in the parent folder. DDJAX_SOURCE names another
# source, such as "ddjax[denoise] @ git+https://ADDRESS".
CHECKOUT = "./ddjax" if os.path.isfile("ddjax/pyproject.toml") else ".."
SOURCE = os.environ.get("DDJAX_SOURCE", f"{CHECKOUT}[denoise]")

package = importlib.util.find_spec("ddjax")
if package is None or package.origin is None:  # the folder of a clone is found too, but it has no origin
    here = sorted({found.name.lower() for found in importlib.metadata.distributions()})
    kept = [name for name in here if name in ("jax", "jaxlib", "libtpu") or name.startswith("jax-cuda")]
    with open("kept.txt", "w") as file:
        file.writelines(f"{name}=={importlib.metadata.version(name)}\n" for name in kept)
    pip = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", "--constraint", "kept.txt"]
    done = subprocess.run([*pip, SOURCE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"pip could not install {SOURCE}:\n{done.stdout}")

# %%
from experiments.notebook import begin

place = begin(drive=None)  # a name such as "ddjax" stores results in that folder of your Drive

# %% [markdown]
# ## Labels, 40 % of them wrong
#
# The data are handwritten digits of 8x8 pixels from scikit-learn. The notebook adds the errors, so that it can count
# what was found. Your own images are an array `[n, h, w, c]` with labels `[n]`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import ddjax

dataset = ddjax.load("digits")
data = ddjax.prepare(dataset, ddjax.NoiseSpec("symmetric", rate=0.4))
images, given = np.asarray(data.train.images), np.asarray(data.train.labels)
print(f"{len(given)} images; {100 * data.noise['effective_rate']:.1f} % of the labels are wrong")


def show(rows, title):
    _, axes = plt.subplots(2, 10, figsize=(10, 2.6))
    for axis, row in zip(axes.flat, rows, strict=False):
        axis.imshow(images[row, :, :, 0], cmap="gray_r")
        axis.set_title(title(row), fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    plt.show()


show(range(20), lambda row: f"“{given[row]}”")

# %% [markdown]
# ## Distil, then judge
#
# `method="dance"` judges by distilled images. By default, `denoise` asks ridge regression and, for 3000 images or more,
# networks, which find more wrong labels of photographs. `flip=False`: the mirror image of a digit is not that digit.

# %%
from experiments.denoising.stages import staged

small = {"students": 3, "epochs": 300, "options": {"steps": 150, "pool_epochs": 10}} if place.quick else {}
with staged(quiet=False) as progress:
    report = ddjax.denoise(images, given, method="dance", flip=False, report=progress, **small)
print(report.report(most=5))

# %% [markdown]
# The most suspicious images, with the given and the suggested label:

# %%
show(report.order()[:20], lambda row: f"“{given[row]}” → {report.suggested[row]}")

# %% [markdown]
# ## How good was that?
#
# Here the truth is known, so the result can be measured:

# %%
clean = np.asarray(data.audit.labels)
wrong = given != clean
print(f"flagged labels that are wrong: {100 * wrong[report.flagged].mean():.1f} %")
print(f"wrong labels that were flagged: {100 * report.flagged[wrong].mean():.1f} %")
print(f"right labels: {100 * (~wrong).mean():.1f} % as given, {100 * (report.cleaned == clean).mean():.1f} % cleaned")

# %% [markdown]
# All images that the students learned from:

# %%
from ddjax.distilled import pixels

distilled = report.distilled
shown = np.clip(np.asarray(pixels(distilled)), 0, 1)
columns = len(shown) // dataset.num_classes
_, axes = plt.subplots(columns, dataset.num_classes, figsize=(7, 0.7 * columns))
for axis, image in zip(np.atleast_2d(axes).T.flat, shown, strict=True):
    axis.imshow(image[:, :, 0], cmap="gray_r", vmin=0, vmax=1)
    axis.axis("off")
plt.show()

# %% [markdown]
# Save the result, and load it again:

# %%
report.save(place.runs / "denoised")
again = ddjax.DenoiseReport.load(place.runs / "denoised")
print(int(again.flagged.sum()), "labels flagged;", list(again.columns()))

# %% [markdown]
# `report.table` is a pandas DataFrame of these columns; `python -m experiments.denoise FOLDER` does all this for a
# folder of images and leaves a gallery to look through. Next: the three distillers (`02_the_three_distillers`).
