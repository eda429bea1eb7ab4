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
# # The three distillers, and the noise
#
# RCIG, DATM and DANCE distil a training set with wrong labels into a few images. Networks trained on these images are
# compared with networks trained on the whole set, and on a random choice of the same number of real images.

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
# ## Settings
#
# Small sizes: digits, one image per class, a minute or less per method. Full sizes: CIFAR-10, ten images per class, the
# settings published for clean data, hours on one accelerator. TFDS downloads the data.

# %%
import dataclasses

import ddjax
from experiments.running.config import Experiment
from experiments.sweeping.presets import published

if place.quick:
    common = Experiment(noise="symmetric", rate=0.4, ipc=1, width=16, students=2, epochs=300, holdout=0.0)
    settings = {
        "rcig": {
            "steps": 100,
            "options": ("batch=128", "pool_size=3", "inner_steps=10", "hinv_steps=10", "image_rate=0.01"),
        },
        "datm": {"steps": 60, "options": ("experts=2", f"segments={place.devices}")},
        "dance": {"steps": 200, "options": ("pool_epochs=10", "members=3")},
    }
else:
    ddjax.load("cifar10", download=True)
    common = Experiment(dataset="cifar10", noise="symmetric", rate=0.4, ipc=10, precision="tensorfloat32")
    theirs = {name: {**sizes.get(0, {}), **sizes.get(10, {})} for name, sizes in published("cifar10").items()}
    settings = {name: theirs.get(name, {}) for name in ("rcig", "datm", "dance")}
settings |= {"random": {}, "full": {"epochs": None}}  # the baseline's own number of epochs

# %% [markdown]
# `run` goes from data to a row of results. `Shared` holds what several runs have in common. With several devices, it
# divides a distillation among them.

# %%
from experiments.display.progress import View
from experiments.running.run import run
from experiments.running.shared import Shared

alone, spread, outcomes = Shared(), Shared(mesh=place.mesh), {}
for method, own in settings.items():
    experiment = dataclasses.replace(common, method=method, **own).settled()
    learns = method in ("rcig", "datm", "dance")  # a choice of real images has nothing to divide
    outcomes[method] = run(experiment, shared=spread if learns else alone, view=View())

# %%
from ddjax.storage.rows import append

for method, outcome in outcomes.items():
    row = outcome.row
    append(place.runs / "results.jsonl", row)
    count = row["train_images"] if method == "full" else len(outcome.distilled.images)
    print(f"{method:7} {count:5} images  test accuracy {100 * row['last_acc']:.1f} %")

# %% [markdown]
# The accuracy is that of the last epoch on clean test images. A run chooses nothing on test data. Training on the whole
# set memorises the wrong labels. A set of ten images cannot store them.
#
# ## Learned images

# %%
import matplotlib.pyplot as plt
import numpy as np

from ddjax.distilled import pixels

learned = [name for name in outcomes if outcomes[name].distilled is not None]
_, axes = plt.subplots(len(learned), 10, figsize=(9, 1.1 * len(learned)))
for line, name in zip(axes, learned, strict=True):
    images = np.clip(np.asarray(pixels(outcomes[name].distilled)), 0, 1)
    for axis, image in zip(line, images[:: len(images) // 10], strict=False):
        axis.imshow(image.squeeze(), cmap="gray_r", vmin=0, vmax=1)
        axis.set_xticks([])
        axis.set_yticks([])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()

# %% [markdown]
# RCIG and DATM also learn the labels: RCIG as targets of a squared error, DATM as logits. DANCE keeps hard labels.

# %%
for name in ("rcig", "datm"):
    distilled = outcomes[name].distilled
    print(f"{name}: labels of kind {distilled.label_kind}; the first is", np.round(np.asarray(distilled.labels[0]), 2))

# %% [markdown]
# ## Wrong labels
#
# Consider the *training* images with a wrong label. `corrected` is the share that a trained network assigns to the true
# class. `memorised` is the share that it assigns to the wrong given label.

# %%
for method, outcome in outcomes.items():
    told = outcome.row["denoising"]
    print(f"{method:7} corrected {100 * told['corrected']:.0f} %  memorised {100 * told['memorised']:.0f} %")

# %% [markdown]
# Try `noise="asymmetric"`: errors with a structure are harder to remove. Next: write your own distiller
# (`03_write_your_own_kernel_distiller`).
