"""Steps of ddjax in turn with plain PyTorch loops of the same steps, where PyTorch is installed.

The loops are eager, as published code is, with cuDNN's search for the fastest algorithm. DATM's and DANCE's loops leave
out augmentation, which the steps of ddjax include.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddjax.backend import target
from ddjax.distillers import datm
from ddjax.models import build
from ddjax.precision import asked
from ddjax.training import Clock, Examples, Recipe, make_trainer
from experiments.benchmarks import dance as dance_benchmark
from experiments.benchmarks import datm as datm_benchmark
from experiments.benchmarks.convolution import problem
from experiments.benchmarks.measure import Entry, Settings, compiled, entry, times
from experiments.benchmarks.rcig import going_on

SHAPE, CLASSES = (32, 32, 3), 10
BATCH, STEPS = 256, 3  # of training
RATE = 0.01


def against_pytorch(settings: Settings) -> Iterator[Entry]:
    """Measure three training steps, an outer step of DATM and a step of DANCE; ratio is PyTorch's time over ddjax's.

    Nothing is measured where PyTorch is not installed, or where it does not see the accelerator that JAX uses.
    """
    try:
        import torch
    except ImportError:
        return
    device = torch.device("cpu" if target() == "cpu" else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        return
    torch.backends.cudnn.benchmark = True
    fast = asked() != "float32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = fast
    short = contextlib.nullcontext()
    if asked() == "bfloat16":
        short = torch.autocast(device.type, torch.bfloat16)
    loops = Loops(torch, device)
    for name, images, ours, theirs in pairs(settings, loops):

        def waited(theirs: Callable[[], Any] = theirs) -> None:
            with short:
                theirs()
            if device.type == "cuda":
                torch.cuda.synchronize()

        waited()
        rounds = times([ours, waited], settings.repeats)
        own, other = map(statistics.median, rounds)
        ratio = statistics.median(b / a for a, b in zip(*rounds, strict=True))
        yield entry(name, own, images_per_s=images / own)
        yield entry(f"{name}, PyTorch {torch.__version__}", other, images_per_s=images / other, ratio=ratio)


def pairs(settings: Settings, loops: "Loops") -> Iterator[tuple[str, int, Callable[[], Any], Callable[[], Any]]]:
    """(name, number of real or inner images, call of ddjax, call of PyTorch) of each step."""
    width, batch = settings.width, settings.batch or BATCH
    model = build("convnet", SHAPE, CLASSES, width=width, depth=3)
    params, images, targets = problem(model, STEPS * batch)
    trainer = make_trainer(model, Recipe(epochs=1, batch=batch, rate=RATE))
    state, clock = trainer.init(jax.random.key(0), jnp.float32(RATE)), Clock(jnp.int32(0), jax.random.key(0))
    ours = compiled(trainer.epoch, state, Examples(images, targets), clock)
    yield "training, 3 steps", STEPS * batch, ours, loops.training(params, images, targets, batch)

    config = datm_benchmark.settings_for(settings, "exact", datm_benchmark.STEPS)
    model = datm.network(config, SHAPE, CLASSES)
    learned, segment = datm_benchmark.problem(model, settings.batch or 100)
    first = datm.Start(images=learned.images, labels=learned.labels, space="random")
    ours = going_on(d := datm.build(config, model), d.init(jax.random.key(0), first), segment)
    theirs = loops.matching_experts(*(model.init(jax.random.key(i)) for i in (0, 1)), learned, config.inner_steps)
    yield f"datm outer step of {config.inner_steps}", len(learned.images) * config.inner_steps, ours, theirs

    case = dance_benchmark.first(settings, 1)
    ours = going_on(case.distiller, case.state, case.batch)
    yield "dance step, ipc 1", case.batch.images[..., 0, 0, 0].size, ours, loops.matching_features(case)


class Loops:
    """The steps in PyTorch."""

    def __init__(self, torch: Any, device: Any):
        """Take the module as an argument, so that this file loads without it."""
        self.torch, self.device = torch, device

    def of(self, array: Any) -> Any:
        """A tensor of an array; images become channels first."""
        array = np.array(array)
        return self.torch.tensor(np.moveaxis(array, -1, -3) if array.ndim > 3 else array, device=self.device)

    def network(self, params: Any) -> list[Any]:
        """Parameters of a ConvNet of ddjax as tensors: kernel, bias, scale, offset of each block, and the head's."""
        found = []
        for i in range(len(params) // 2):
            conv, norm = params[f"conv_{i}"], params[f"norm_{i}"]
            found += [np.transpose(conv["kernel"], (3, 2, 0, 1)), conv["bias"], norm["scale"], norm["bias"]]
        found += [np.transpose(params["head"]["kernel"]), params["head"]["bias"]]
        return [self.torch.tensor(np.array(each), device=self.device, requires_grad=True) for each in found]

    def features(self, params: list[Any], images: Any) -> Any:
        """Blocks of convolution, instance norm, ReLU and average pooling; images are [n c h w]."""
        f, x = self.torch.nn.functional, images
        for i in range(0, len(params) - 2, 4):
            kernel, bias, scale, offset = params[i : i + 4]
            x = f.group_norm(f.conv2d(x, kernel, bias, padding=1), len(kernel), scale, offset)
            x = f.avg_pool2d(f.relu(x), 2)
        return x.permute(0, 2, 3, 1).flatten(1)

    def logits(self, params: list[Any], images: Any) -> Any:
        """The network."""
        return self.torch.nn.functional.linear(self.features(params, images), *params[-2:])

    def loss(self, params: list[Any], images: Any, targets: Any) -> Any:
        """The mean cross-entropy."""
        return self.torch.nn.functional.cross_entropy(self.logits(params, images), targets)

    def training(self, params: Any, images: Any, targets: Any, batch: int) -> Callable[[], Any]:
        """Steps of SGD on consecutive batches."""
        weights, images, targets = self.network(params), self.of(images), self.of(targets)
        optimiser = self.torch.optim.SGD(weights, RATE)

        def call() -> None:
            for images_of, targets_of in zip(images.split(batch), targets.split(batch), strict=True):
                optimiser.zero_grad()
                self.loss(weights, images_of, targets_of).backward()
                optimiser.step()

        return call

    def matching_experts(self, start: Any, target: Any, learned: Any, steps: int) -> Callable[[], Any]:
        """The gradient of DATM's matching loss through `steps` steps on all learned images."""
        first, goal, grad = self.network(start), self.network(target), self.torch.autograd.grad
        images, labels, rate = (self.of(x).requires_grad_() for x in (learned.images, learned.labels, learned.rate))

        def apart(a: list[Any], b: list[Any]) -> Any:
            return sum(((x - y) ** 2).sum() for x, y in zip(a, b, strict=True))

        def call() -> Any:
            weights = first
            for _ in range(steps):
                slopes = grad(self.loss(weights, images, labels.softmax(1)), weights, create_graph=True)
                weights = [w - rate * g for w, g in zip(weights, slopes, strict=True)]
            return grad(apart(weights, goal) / apart(first, goal).detach(), (images, labels, rate))

        return call

    def matching_features(self, case: dance_benchmark.First) -> Callable[[], Any]:
        """DANCE's steps of each class: a mean feature is matched, then the trained network calibrates."""
        f, config, grad = self.torch.nn.functional, case.config, self.torch.autograd.grad
        encoder, judge = self.network(case.batch.encoder), self.network(case.batch.judge)
        real = self.of(case.batch.images)
        learned = [x.requires_grad_() for x in self.of(case.start.images).unbind()]
        side = real.shape[-1]
        factor = config.factor_for((side, side, 3))

        def shown(x: Any) -> Any:
            pieces = [half for rows in x.chunk(factor, 2) for half in rows.chunk(factor, 3)]
            return f.interpolate(self.torch.cat(pieces), (side, side), mode="bilinear")

        def call() -> None:
            for label, images in enumerate(learned):
                with self.torch.no_grad():
                    target = self.features(encoder, real[label]).mean(0)
                losses = [lambda x, target=target: ((self.features(encoder, x).mean(0) - target) ** 2).sum()]
                labels = self.torch.full((len(images) * factor**2,), label, device=self.device)
                losses += [lambda x, labels=labels: self.loss(judge, x, labels)] * config.calibrations
                for loss in losses:
                    (slope,) = grad(loss(shown(images)), (images,))
                    with self.torch.no_grad():
                        images -= config.image_rate() * slope

        return call
