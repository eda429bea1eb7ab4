"""KIP: a few images, and optionally labels, from which kernel ridge regression predicts the real ones.

Kernel inducing points learn the support of a kernel ridge regression by gradient descent on its squared error over
batches of real images (Nguyen, Chen, Lee 2021, arXiv:2011.00050; with convolutional kernels: Nguyen, Novak, Xiao,
Lee 2021, arXiv:2107.13034). The kernel is a value: that of an infinitely wide network, of a random finite one, or
any function of yours.

Write your own kernel distiller in one file. A kernel is one function; `kernel_method` makes a method of it:

    import jax.numpy as jnp

    from ddjax.distillers.kip import kernel_method
    from ddjax.kernels import gram


    def matern(x, y):
        "Matern-3/2 on pixels, [n h w c] and [m h w c] -> [n m]; the scale is the images' own dimension."
        x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
        square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * gram(x, y)
        distance = jnp.sqrt(3 * jnp.maximum(square, 1e-6) / x.shape[1])
        return (1 + distance) * jnp.exp(-distance)


    METHOD = kernel_method(matern)

Saved as my_fork.py it runs as `--method my_fork:METHOD`, and `test_mine = ddjax.testing.contract(METHOD, ipc=2)` holds
it to everything a method must keep. Without a file of its own the function is an option of this method, too:
`--method kip --options kernel=my_fork:matern`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

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
from ddjax.names import choose, unknown
from ddjax.preprocess import centered
from ddjax.ranges import Count, Natural, NonNegative, Positive
from ddjax.trees import record
from ddjax.types import Distiller, Feed, Method, Metrics, Model, PRNGKey, TrainSet

SOLVES = ("float64", "float32")


@dataclasses.dataclass(frozen=True)
class KernelConfig:
    """What any kernel distiller has to choose; rate, ridge and the centred labels are those of the published code."""

    ipc: Count = 1
    steps: Natural = 1000
    batch: Count = 256  # real images per step
    rate: NonNegative = 0.04  # of Adam
    ridge: Positive = 1e-6  # in units of the kernel's mean diagonal
    learn_labels: bool = False
    solve: str = "float64"  # precision of the solve: float32 is too coarse for so small a ridge

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        ranges.fields(self)
        if self.solve not in SOLVES:
            raise unknown("solve", self.solve, SOLVES)


@dataclasses.dataclass(frozen=True)
class KipConfig(KernelConfig):
    """And which kernel."""

    kernel: str = "ntk"  # a name of KERNELS, or module:ATTRIBUTE, a function (x, y) -> [n m]
    depth: Count = 3  # of the infinitely wide ConvNet
    block: Natural = 0  # rows of an infinite-width kernel at a time; 0: as many as fit into a bounded memory


Draw = Callable[[PRNGKey], Kernel]  # the kernel of a step; all but random networks' ignore the key


def _infinite(kind: str) -> Callable[[KipConfig, Model], Draw]:
    def make(config: KipConfig, model: Model) -> Draw:
        style = {"parameterization": "ntk", "w_std": 2**0.5, "b_std": 0.1}  # the published one
        kernel = convnet_kernel(kind, config.depth, block=config.block or None, **style)
        return lambda key: kernel

    return make


def _random_network(config: KipConfig, model: Model) -> Draw:
    # its mean over initialisations is the NNGP kernel (Loo, Hasani, Amini, Rus 2022, arXiv:2210.12067)
    def draw(key: PRNGKey) -> Kernel:
        params = model.init(key)
        return lambda x, y: conjugate(model.features, params, x, y)

    return draw


KERNELS: Mapping[str, Callable[[KipConfig, Model], Draw]] = {
    "ntk": _infinite("ntk"),
    "nngp": _infinite("nngp"),
    "conjugate": _random_network,  # of the network at hand, a fresh one at each step
}


@record()
class KipState:
    """The set that is learned, and what Adam remembers."""

    distilled: Any  # DistilledSet
    opt_state: Any
    key: Any  # never advanced: each step folds its own number in
    step: Any  # int32 []


def kernel_distiller(draw: Draw, config: KernelConfig) -> Distiller:
    """The distiller that learns the support of a ridge regression with the kernels that `draw` makes."""
    optimizer = optax.adam(config.rate)

    def learned(distilled: DistilledSet) -> dict[str, Array]:
        return learned_fields(distilled, config.learn_labels)

    def loss(values: dict[str, Array], distilled: DistilledSet, kernel: Kernel, batch: Batch) -> tuple[Array, Metrics]:
        support = dataclasses.replace(distilled, **values)
        predicted = predict(kernel, config, support, batch.images)
        error = 0.5 * jnp.mean((predicted - centered(batch.labels, support.num_classes)) ** 2)
        accuracy = jnp.mean(jnp.argmax(predicted, axis=1) == batch.labels)
        return error, {"loss": error, "batch_acc": accuracy}

    def init(key: PRNGKey, start: DistilledSet) -> KipState:
        distilled = jax.tree.map(jnp.copy, start)  # the loop donates its state, and the start is not its to give away
        return KipState(distilled=distilled, opt_state=optimizer.init(learned(distilled)), key=key, step=jnp.int32(0))

    def step(state: KipState, batch: Batch) -> tuple[KipState, Metrics]:
        kernel, values = draw(jax.random.fold_in(state.key, state.step)), learned(state.distilled)
        gradient, metrics = jax.grad(loss, has_aux=True)(values, state.distilled, kernel, batch)
        updates, opt_state = optimizer.update(gradient, state.opt_state, values)
        distilled = dataclasses.replace(state.distilled, **optax.apply_updates(values, updates))
        return dataclasses.replace(state, distilled=distilled, opt_state=opt_state, step=state.step + 1), metrics

    return Distiller(init, step, extract=lambda state: state.distilled)


def predict(
    kernel: Kernel, config: KernelConfig, support: DistilledSet, images: Float[Array, "n h w c"]
) -> Float[Array, "n k"]:
    """Ridge regression from the support: the centred class scores of `images`."""
    k_mm = kernel(support.images, support.images)
    k_nm = kernel(images, support.images)
    return ridge_predict(k_nm, k_mm, support.labels, relative(k_mm, config.ridge), jnp.dtype(config.solve))


def prepare(config: KernelConfig, train: TrainSet, model: Model, key: PRNGKey) -> tuple[DistilledSet, Feed]:
    """Real images of each given class with their centred labels, and the feed of real batches."""
    if not jnp.issubdtype(train.images.dtype, jnp.floating):
        raise ValueError(f"images must be floats to be learned; got {train.images.dtype}: apply a preprocess first")
    start_key, feed_key = jax.random.split(key)
    return start_set(start_key, train, config.ipc, targets=centered), image_batches(train, config.batch, feed_key)


def build(config: KipConfig, model: Model) -> Distiller:
    """KIP with the kernel that `config` names."""
    if config.kernel in KERNELS or ":" not in config.kernel:
        return kernel_distiller(choose(KERNELS, config.kernel, "kernel")(config, model), config)
    kernel = choose({}, config.kernel, "kernel")
    return kernel_distiller(lambda key: kernel, config)


def kernel_method(kernel: Kernel) -> Method:
    """A method from one function, (x [n h w c], y [m h w c]) -> [n m], positive definite and differentiable in both."""
    return Method(
        config=KernelConfig,
        prepare=prepare,
        build=lambda config, model: kernel_distiller(lambda key: kernel, config),
        split=("images", "labels"),
    )


METHOD = Method(config=KipConfig, prepare=prepare, build=build, split=("images", "labels"))
