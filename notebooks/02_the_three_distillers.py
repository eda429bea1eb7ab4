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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ddjax/ddjax/blob/main/notebooks/02_the_three_distillers.ipynb)
#
# RCIG, DATM and DANCE each squeeze a training set with wrong labels into a few images. Networks trained on those few
# are compared with networks trained on everything, and on a random choice of as many real images.

# %%
# On Colab: ddjax is installed beside the jax that is there, which fits the accelerator and is never replaced.
import importlib.metadata
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("ddjax") is None:
    here = sorted({found.name.lower() for found in importlib.metadata.distributions()})
    kept = [name for name in here if name in ("jax", "jaxlib", "libtpu") or name.startswith("jax-cuda")]
    with open("kept.txt", "w") as file:
        file.writelines(f"{name}=={importlib.metadata.version(name)}\n" for name in kept)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", "kept.txt"]
    subprocess.run([*pip, "ddjax[denoise] @ git+https://github.com/ddjax/ddjax"], check=True)

# %%
from experiments.notebook import begin

place = begin(drive=None)  # a name such as "ddjax" keeps results in that folder of your Drive

# %% [markdown]
# ## What is run
#
# Small: one digit image per class, in a minute or less each. Full: CIFAR-10 with ten images per class and the settings
# published for clean data, hours on one accelerator; TFDS fetches the data.

# %%
import dataclasses

import ddjax
from experiments.config import Experiment
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
# `run` goes from data to a row of numbers; `Shared` holds what runs have in common, and spreads a distillation over
# all devices where there are several.

# %%
from experiments.progress import View
from experiments.run import run
from experiments.shared import Shared

alone, spread, outcomes = Shared(), Shared(mesh=place.mesh), {}
for method, own in settings.items():
    experiment = dataclasses.replace(common, method=method, **own).settled()
    learns = method in ("rcig", "datm", "dance")  # a choice of real images has nothing to spread
    outcomes[method] = run(experiment, shared=spread if learns else alone, view=View())

# %%
from ddjax.results import append

for method, outcome in outcomes.items():
    row = outcome.row
    append(place.runs / "results.jsonl", row)
    count = row["train_images"] if method == "full" else len(outcome.distilled.images)
    print(f"{method:7} {count:5} images  test accuracy {100 * row['last_acc']:.1f} %")

# %% [markdown]
# Accuracy is that of the last epoch, on clean test images; nothing is chosen on test data. Training on everything to
# the end learns the wrong labels too; ten images have no room for them.
#
# ## What was learned

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
# Labels are learned as well by RCIG (targets of a squared error) and DATM (logits); DANCE keeps them hard.

# %%
for name in ("rcig", "datm"):
    distilled = outcomes[name].distilled
    print(f"{name}: labels of kind {distilled.label_kind}; the first is", np.round(np.asarray(distilled.labels[0]), 2))

# %% [markdown]
# ## What became of the wrong labels
#
# Of the *training* images with a wrong label: how many does a trained network call by their true class, and how many
# by the wrong one it was given?

# %%
for method, outcome in outcomes.items():
    told = outcome.row["denoising"]
    print(f"{method:7} corrected {100 * told['corrected']:.0f} %  memorised {100 * told['memorised']:.0f} %")

# %% [markdown]
# Try `noise="asymmetric"`: errors with structure are squeezed in as well. Next: a distiller of your own
# (`03_write_your_own_kernel_distiller`).
