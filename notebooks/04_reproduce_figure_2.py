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
# # Reproduce figure 2: symmetric noise against the size of the set
#
# For each noise rate, the figure shows the accuracy of networks trained on a distilled set against the size of the set
# (solid), and of networks trained on the whole set with their wrong labels (dashed). Where a solid line is above its
# dashed line, distillation reduces the effect of the noise.

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

place = begin(drive=None)  # "ddjax" stores a long sweep in that folder of your Drive, where it can continue

# %% [markdown]
# ## The grid
#
# Small sizes: digits, two methods, two rates, a few minutes. Full sizes: a part of the grid on CIFAR-10 with the
# published settings, 15 minutes on one H200 by its plan. Fit `methods`, `rates`, `ipc` and `seeds` to the time that
# you have. Finished cells do not run again.

# %%
import pathlib

import ddjax
from experiments.sweep import sweep

GRID = """
datasets = ["digits"]
noises = [["symmetric", 0.2], ["symmetric", 0.6]]
methods = ["random", "dance", "full"]
ipc = [1, 10]
seeds = [0]
protocols = ["dance"]

[everywhere]
width = 16
students = 2
epochs = 60
holdout = 0.0

[of_method.dance.0]
steps = 150
options = ["pool_epochs=10", "members=3"]
"""

out = place.runs / "figure2"
if place.quick:
    grid = pathlib.Path("digits_figure2.toml")
    grid.write_text(GRID)
    chosen = {"config": grid}
else:
    ddjax.load("cifar10", download=True)
    chosen = {"preset": "figure2", "datasets": ("cifar10",), "methods": ("random", "dance", "full"), "ipc": (1, 10)}
    chosen |= {"rates": (0.2, 0.6), "seeds": (0,)}

# %% [markdown]
# The predicted time, memory and disk space:

# %%
_ = sweep(**chosen, out=out, dry_run=True)

# %%
_ = sweep(**chosen, out=out, quiet=True)

# %% [markdown]
# ## Figure and verdicts
#
# `report.html` in the same folder contains all figures and tables.

# %%
from IPython.display import SVG, display

display(SVG(filename=out / "report" / "figure2.svg"))

# %%
print((out / "report" / "verdicts.txt").read_text())
