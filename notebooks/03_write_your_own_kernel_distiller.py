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
# # Write your own kernel distiller
#
# Kernel ridge regression predicts all real images from a few support images. Its error is differentiable in the
# support, so gradient descent can learn the support (KIP, arXiv:2011.00050). A new kernel, which is one function, makes
# a new method.

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
# ## One function
#
# This is a Matérn kernel on pixels. A kernel must be differentiable and positive definite. `gram` multiplies in full
# float32 on every backend. A ridge of 1e-6 requires this precision.

# %%
import jax.numpy as jnp

from ddjax.distillers.kip import kernel_method
from ddjax.kernels import gram


def matern(x, y):
    """Matern-3/2, [n h w c] and [m h w c] -> [n m]; distances are per pixel."""
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * gram(x, y)
    distance = jnp.sqrt(3 * jnp.maximum(square, 1e-6) / x.shape[1])
    return (1 + distance) * jnp.exp(-distance)


METHOD = kernel_method(matern)
METHOD.config()

# %% [markdown]
# ## Test the contract
#
# Every method of the library must satisfy the contract: one trace, a scan equals a loop, `vmap` equals `map`, a resumed
# run equals an uninterrupted one, two runs agree bit for bit, and the program contains no large constants. In a fork,
# one line of a test file checks this: `test_matern = testing.contract(METHOD, ipc=1)`.

# %%
from ddjax import testing

# The rate is small because Adam's first step is the sign of the gradient, and rounding decides the sign near zero.
case = testing.Case(METHOD, METHOD.config(ipc=1, steps=3, batch=8, rate=1e-3))
for check in testing.CHECKS:
    check(case)
    print("holds:", check.__name__.replace("_", " "))

# %% [markdown]
# ## Distil
#
# A distiller is three pure functions, which `run_method` calls in a loop. With several devices, the real images of each
# step are divided among them. The numbers stay the same.

# %%
import jax

import ddjax
from ddjax import preprocess

dataset = ddjax.load("digits")
data = ddjax.prepare(dataset, ddjax.NoiseSpec("symmetric", rate=0.4))

# Wrong labels require a large ridge. A small ridge would fit each wrong label.
config = METHOD.config(ipc=2, steps=200 if place.quick else 2000, batch=256, ridge=0.1)
outcome = ddjax.run_method(METHOD, data.train, jax.random.key(0), config, mesh=place.mesh)
distilled, log = outcome.distilled, outcome.log
print(f"loss {log['loss'][0]:.4f} -> {log['loss'][-1]:.4f}")

# %% [markdown]
# ## Test
#
# The accuracy of the ridge regression on clean test images, and its agreement with the training labels:

# %%
import numpy as np

from ddjax.distillers.kip import predict


def accuracy(images, labels):
    return float(jnp.mean(jnp.argmax(predict(matern, config, distilled, images), axis=1) == jnp.asarray(labels)))


preprocessed = ddjax.to_space(data, distilled.preprocess)
given, clean = np.asarray(preprocessed.train.labels), np.asarray(preprocessed.audit.labels)
print(f"test {100 * accuracy(preprocessed.test.images, preprocessed.test.labels):.1f} %")
print(f"training images by their given labels {100 * accuracy(preprocessed.train.images, given):.1f} %")
print(f"training images by their clean labels {100 * accuracy(preprocessed.train.images, clean):.1f} %")

# %%
import matplotlib.pyplot as plt

shown = np.asarray(preprocess.invert(distilled.preprocess, distilled.images))
_, axes = plt.subplots(config.ipc, dataset.num_classes, figsize=(9, 1.0 * config.ipc))
for axis, image in zip(axes.T.flat, shown, strict=True):
    axis.imshow(image.squeeze(), cmap="gray_r", vmin=0, vmax=1)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## The same from the command line
#
# Save the cell of the kernel and its `METHOD` as `my_fork.py` in your working folder. Then
# `python -m experiments.one --method my_fork:METHOD --ipc 2` runs it, and sweeps and reports accept it too. The page
# "Add your own" of the documentation shows a method that is not a kernel regression. It is also one file.
