"""KIP: a few images, and optionally labels, from which kernel ridge regression predicts the real labels.

Kernel inducing points learn the support of a kernel ridge regression by gradient descent on its squared error over
batches of real images (Nguyen, Chen, Lee 2021, arXiv:2011.00050; with convolutional kernels: Nguyen, Novak, Xiao,
Lee 2021, arXiv:2107.13034). The kernel is that of an infinitely wide network, that of a random finite network, or any
function of yours.

`kernel_method` makes a method of one kernel function. `METHOD = kernel_method(mine)` in my_fork.py runs as `--method
my_fork:METHOD`. The function alone is an option of KIP: `--method kip --options kernel=my_fork:mine`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ddjax import ranges
from ddjax.distilled import DistilledSet
from ddjax.distillers.shared.feeds import Batch, image_batches
from ddjax.distillers.shared.start import learned_fields, start_set
from ddjax.kernels import relative, ridge_predict
from ddjax.kernels.finite import conjugate
from ddjax.kernels.gram import Kernel
from ddjax.kernels.infinite import convnet_kernel
from ddjax.names import choose
from ddjax.preprocess import centered
from ddjax.ranges import Count, Natural, NonNegative, Positive
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet


@ranges.settings()
class KernelConfig:
    """Settings of every kernel distiller; the defaults of rate, ridge and labels are those of the published code."""

    ipc: Count = 1
    steps: Natural = 1000
    batch: Count = 256  # real images per step
    rate: NonNegative = 0.04  # of Adam
    ridge: Positive = 1e-6  # in units of the kernel's mean diagonal
    learn_labels: bool = False
    solve: Annotated[str, ("float64", "float32")] = "float64"  # of the solve; float32 is too low for the default ridge


@dataclasses.dataclass(frozen=True)
class KipConfig(KernelConfig):
    """Settings of KIP: those of every kernel distiller, and the kernel."""

    kernel: str = "ntk"  # a name of KERNELS, or module:ATTRIBUTE, a function (x, y) -> [n m]
    depth: Count = 3  # of the infinitely wide ConvNet
    block: Natural = 0  # rows per block of an infinite-width kernel; 0 derives the number from a memory bound


Draw = Callable[[PRNGKey], Kernel]  # the kernel of a step; only kernels of random networks use the key


def _infinite(kind: str) -> Callable[[KipConfig, Model], Draw]:
    def make(config: KipConfig, model: Model) -> Draw:
        style = {"parameterization": "ntk", "w_std": 2**0.5, "b_std": 0.1}  # as published
        kernel = convnet_kernel(kind, config.depth, block=config.block or None, **style)
        return lambda key: kernel

    return make


def _random_network(config: KipConfig, model: Model) -> Draw:
    # the mean over initialisations is the NNGP kernel (Loo, Hasani, Amini, Rus 2022, arXiv:2210.12067)
    def draw(key: PRNGKey) -> Kernel:
        params = model.init(key)
        return lambda x, y: conjugate(model.features, params, x, y)

    return draw


KERNELS: Mapping[str, Callable[[KipConfig, Model], Draw]] = {
    "ntk": _infinite("ntk"),
    "nngp": _infinite("nngp"),
    "conjugate": _random_network,  # of a network that is initialised anew in each step
}


@record()
class KipState:
    """The set that is learned, and the state of Adam."""

    distilled: Any  # DistilledSet
    opt_state: Any
    key: Any  # constant: each step folds its own number in
    step: Any  # int32 []


def kernel_distiller(draw: Draw, config: KernelConfig) -> Distiller:
    """A distiller that learns the support of a kernel ridge regression.

    Args:
      draw: key -> the kernel of a step.
      config: the settings.

    Returns:
      The functions init, step and extract.
    """
    optimiser = optax.adam(config.rate)

    def learned(distilled: DistilledSet) -> dict[str, Array]:
        return learned_fields(distilled, config.learn_labels)

    def loss(values: dict[str, Array], distilled: DistilledSet, kernel: Kernel, batch: Batch) -> tuple[Array, Metrics]:
        support = dataclasses.replace(distilled, **values)
        predicted = predict(kernel, config, support, batch.images)
        error = 0.5 * jnp.mean((predicted - centered(batch.labels, support.num_classes)) ** 2)
        accuracy = jnp.mean(jnp.argmax(predicted, axis=1) == batch.labels)
        return error, {"loss": error, "accuracy": accuracy}

    def init(key: PRNGKey, start: DistilledSet) -> KipState:
        distilled = jax.tree.map(jnp.copy, start)  # the loop donates the state, and the caller keeps the start
        return KipState(distilled=distilled, opt_state=optimiser.init(learned(distilled)), key=key, step=jnp.int32(0))

    def step(state: KipState, batch: Batch) -> tuple[KipState, Metrics]:
        kernel, values = draw(jax.random.fold_in(state.key, state.step)), learned(state.distilled)
        gradient, metrics = jax.grad(loss, has_aux=True)(values, state.distilled, kernel, batch)
        updates, opt_state = optimiser.update(gradient, state.opt_state, values)
        distilled = dataclasses.replace(state.distilled, **optax.apply_updates(values, updates))
        return dataclasses.replace(state, distilled=distilled, opt_state=opt_state, step=state.step + 1), metrics

    return Distiller(init, step, extract=lambda state: state.distilled)


def predict(
    kernel: Kernel, config: KernelConfig, support: DistilledSet, images: Float[Array, "n h w c"]
) -> Float[Array, "n k"]:
    """Ridge regression from the support.

    Args:
      kernel: (x [n h w c], y [m h w c]) -> [n m].
      config: the ridge and the precision of the solve.
      support: images with centred labels.
      images: in the space of the support.

    Returns:
      The centred class scores of `images`.

    Example:
      >>> from ddjax.testing import toy_train
      >>> support = start_set(jax.random.key(0), toy_train(), ipc=1, targets=centered)
      >>> distance = lambda x, y: jnp.sum((x[:, None] - y[None]) ** 2, axis=(2, 3, 4))
      >>> predict(lambda x, y: jnp.exp(-distance(x, y)), KernelConfig(), support, toy_train().images).shape
      (24, 3)
    """
    k_mm = kernel(support.images, support.images)
    k_nm = kernel(images, support.images)
    return ridge_predict(k_nm, k_mm, support.labels, relative(k_mm, config.ridge), jnp.dtype(config.solve))


def prepare(config: KernelConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[DistilledSet, Feed]:
    """The first distilled set, real images with centred labels, and a feed of real batches."""
    start_key, feed_key = jax.random.split(key)
    return start_set(start_key, train, config.ipc, targets=centered), image_batches(train, config.batch, feed_key)


def build(config: KipConfig, model: Model) -> Distiller:
    """KIP with the kernel that `config` names."""
    made = choose(KERNELS, config.kernel, "kernel", Callable)
    return kernel_distiller(made(config, model) if config.kernel in KERNELS else lambda key: made, config)


def kernel_method(kernel: Kernel) -> Method:
    """A method from one kernel function.

    Args:
      kernel: (x [n h w c], y [m h w c]) -> [n m], positive definite and differentiable in both arguments.

    Returns:
      The method, with `KernelConfig` as its configuration.

    Example:
      >>> from ddjax.kernels import gram
      >>> kernel_method(lambda x, y: gram(x.reshape(len(x), -1), y.reshape(len(y), -1))).config().steps
      1000
    """
    return Method(
        config=KernelConfig,
        prepare=prepare,
        build=lambda config, model: kernel_distiller(lambda key: kernel, config),
        split=("images", "labels"),
    )


METHOD = Method(config=KipConfig, prepare=prepare, build=build, split=("images", "labels"))
