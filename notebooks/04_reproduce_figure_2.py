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
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/ddjax/ddjax/blob/main/notebooks/04_reproduce_figure_2.ipynb)
#
# For each noise rate: the accuracy of networks trained on a distilled set, as the set grows (solid), and trained on
# all images with their wrong labels (dashed). Where a solid line is above its dashed one, distilling denoises.

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

place = begin(drive=None)  # "ddjax" keeps a long sweep in that folder of your Drive: run again, and it goes on

# %% [markdown]
# ## The grid
#
# Small: digits, two methods, two rates, a few minutes. Full: CIFAR-10 with the published settings, weeks on one
# accelerator; narrow it (`methods`, `rates`, `ipc`, `seeds`) to what your session holds. Cells that are done are
# never run again.

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
# What it will take, before anything runs:

# %%
_ = sweep(**chosen, out=out, dry_run=True)

# %%
_ = sweep(**chosen, out=out, quiet=True)

# %% [markdown]
# ## The figure, and what the numbers say
#
# `report.html` beside these files has everything on one page.

# %%
from IPython.display import SVG, display

display(SVG(filename=out / "report" / "figure2.svg"))

# %%
print((out / "report" / "verdicts.txt").read_text())
