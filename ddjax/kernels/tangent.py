"""The one door to neural-tangents, which was last released for a JAX of 2023.

`load()` imports neural-tangents 0.6.5 or later on current JAX. What it needs and JAX no longer has where it looks is
lent to it during the import (`MOVED`) and taken back afterwards: nothing in JAX stays changed. What it looks up at
run time is put into its own modules (`_mend`), never into JAX's.
"""

import contextlib
import functools
import importlib
import sys
import threading
import types
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import jax
import jax.extend.core
from jax.interpreters import ad

PACKAGE = "neural_tangents"
_LOCK = threading.RLock()
_loaded: list[types.ModuleType] = []


def _core(name: str) -> Callable[[], Any]:
    return lambda: getattr(jax.extend.core, name)


def _util() -> types.ModuleType:
    # what jax.util held: map and zip that demand equal lengths and hand back lists
    util = types.ModuleType("jax.util")
    util.safe_map = lambda f, *args: [f(*row) for row in zip(*args, strict=True)]
    util.safe_zip = lambda *args: list(zip(*args, strict=True))
    return util


# (module, name) -> what to lend as module.name during the import; a whole module where the name is None
MOVED: dict[tuple[str, str | None], Callable[[], Any]] = {
    # five classes of the jaxpr language that moved from jax.core to jax.extend.core; bound by `from jax.core import`
    ("jax.core", "Jaxpr"): _core("Jaxpr"),
    ("jax.core", "JaxprEqn"): _core("JaxprEqn"),
    ("jax.core", "Literal"): _core("Literal"),
    ("jax.core", "Primitive"): _core("Primitive"),
    ("jax.core", "Var"): _core("Var"),
    # removed with nothing in its place; bound by `from jax.util import`
    ("jax.util", None): _util,
    # a primitive that JAX stopped emitting: it is a key of two rule tables, and any fresh primitive serves
    ("jax.interpreters.ad", "zeros_like_p"): lambda: jax.extend.core.Primitive("zeros_like"),
    # imports TensorFlow and jax2tf on sight; no part of the library needs it
    (f"{PACKAGE}.experimental", None): lambda: types.ModuleType(f"{PACKAGE}.experimental"),
}


def load() -> types.ModuleType:
    """The module `neural_tangents`, imported on the first call; an ImportError says which name was missing."""
    with _LOCK:
        if not _loaded:
            _loaded.append(_import())
        return _loaded[0]


def _import() -> types.ModuleType:
    before = {name for name in sys.modules if name.split(".")[0] == PACKAGE}
    try:
        with _lent():
            package = importlib.import_module(PACKAGE)
            importlib.import_module(f"{PACKAGE}.stax")
        if not before:
            vars(package).pop("experimental", None)  # the stand-in, bound by `from . import experimental`
        _mend(importlib.import_module(f"{PACKAGE}._src.empirical"))
        _mend_predict(importlib.import_module(f"{PACKAGE}._src.predict"))
    except Exception as error:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE and name not in before]:
            del sys.modules[name]  # half imported: the next attempt starts afresh
        raise ImportError(_explained(error), name=PACKAGE) from error
    return package


def _explained(error: Exception) -> str:
    try:
        version = metadata.version("neural-tangents")
    except metadata.PackageNotFoundError:
        return "neural-tangents is not installed: `pip install 'neural-tangents>=0.6.5'`"
    return (
        f"neural-tangents {version} cannot be imported on jax {jax.__version__}: {type(error).__name__}: {error}. "
        "It looks for a name that this JAX has moved or removed: lend it in MOVED (or _mend, if it is looked up at run "
        "time) of ddjax/kernels/tangent.py, or install a jax that is known to work, such as 0.10"
    )


@contextlib.contextmanager
def _lent() -> Iterator[None]:
    """Every name of MOVED in its old place; on leaving, the places are as they were."""
    undo: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for (module, name), make in MOVED.items():
            place = sys.modules if name is None else vars(importlib.import_module(module))
            key = module if name is None else name
            thing = make()
            undo.append((place, key, place.get(key, undo)))
            place[key] = thing
        yield
    finally:
        for place, key, old in reversed(undo):
            if old is undo:  # there was nothing
                del place[key]
            else:
                place[key] = old


class _Overlay(types.ModuleType):
    """A module seen through a few names of ours."""

    def __init__(self, module: types.ModuleType, **names: Any):
        super().__init__(module.__name__)
        self.__dict__.update(names)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _NoSuchArray:
    """Arrays of dynamic shape, which JAX no longer has: no abstract value is one."""


def _mend(empirical: types.ModuleType) -> None:
    """Give neural-tangents' empirical kernels, for good, what they look up at run time; needed by which is said."""
    import jax.numpy as jnp

    # every implementation: the size of an abstract array and the dtype of an array, which jnp is about to refuse
    empirical.jnp = _Overlay(
        jnp,
        size=lambda x: x.size if hasattr(x, "size") else jnp.size(x),
        dtype=lambda x: x.dtype if hasattr(x, "dtype") else jnp.dtype(x),
    )
    # AUTO: XLA's cost analysis was a list with a dictionary in it, and is the dictionary itself
    empirical._get_flops = _flops
    empirical.print = lambda *words: None  # it would print the costs it compares
    # STRUCTURED_DERIVATIVES: jax.interpreters.ad.linearize has become another function
    empirical._get_primals_out_and_pullback = _primals_and_pullback
    # STRUCTURED_DERIVATIVES, in its copy of JAX's backward pass: it asks primitives whether they are calls, names its
    # steps for the profiler, and checks types through functions that are gone
    empirical._eqn_vjp_fn = _transposed
    names = types.SimpleNamespace(transform_name_stack=lambda name: contextlib.nullcontext())
    checks = types.SimpleNamespace(jax_enable_checks=False)
    empirical.ad = _Overlay(ad, source_info_util=names, config=checks)
    empirical.core = _Overlay(empirical.core, DShapedArray=_NoSuchArray)


def _mend_predict(predict: types.ModuleType) -> None:
    """Give neural-tangents' predictions, for good, what SciPy no longer has and what JAX now forbids."""
    import scipy

    def eigvalsh(matrix: Any, eigvals: tuple[int, int]) -> Any:  # the name of the range until SciPy 1.13
        return scipy.linalg.eigvalsh(matrix, subset_by_index=eigvals)

    # max_learning_rate: the largest eigenvalue on a CPU
    predict.sp = _Overlay(scipy, linalg=_Overlay(scipy.linalg, eigvalsh=eigvalsh))
    # gradient_descent_mse under a vmap over kernels: it factorises the kernel outside of all transformations, to keep
    # the factors, where JAX no longer knows a kernel that is being transformed
    predict.jax = _Overlay(jax, core=_Overlay(jax.core, eval_context=contextlib.nullcontext))
    for name in ("_get_fns_in_eigenbasis", "_get_cho_solve"):
        setattr(predict, name, _outside(getattr(predict, name)))


def _outside(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, outside of all transformations wherever none of its arguments is being transformed."""

    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(args))
        with contextlib.nullcontext() if traced else jax.core.eval_context():
            return function(*args)

    return wrapped


def _flops(f: Callable[..., Any], optimize: bool, *args: Any, **kwargs: Any) -> float:
    # as neural-tangents has it, with whichever shape the analysis comes in
    lowered = jax.jit(f).lower(*args, **kwargs)
    analysis = (lowered.compile() if optimize else lowered).cost_analysis()
    if isinstance(analysis, (list, tuple)):
        analysis = analysis[0]
    if not analysis or "flops" not in analysis:
        raise NotImplementedError(
            "NtkImplementation.AUTO compares costs, and this backend counts no flops: choose JACOBIAN_CONTRACTION, "
            "NTK_VECTOR_PRODUCTS or STRUCTURED_DERIVATIVES"
        )
    return analysis["flops"]


def _primals_and_pullback(
    fn: Callable[..., Any], mode: Any, j_rules: bool, s_rules: bool, fwd: bool | None, *primals: Any
) -> tuple[Any, Callable[..., Any]]:
    # as neural-tangents has it, from public functions: the outputs of `fn`, and a walk backwards over its linear part
    with jax.disable_jit():  # so that the linear part is a flat list of primitives
        out, tangent = jax.linearize(fn, *primals)
        linear = jax.make_jaxpr(tangent)(*primals)

    def pullback(*cotangents: Any) -> Any:
        collected = load()._src.empirical._backward_pass(
            linear.jaxpr,
            mode=mode,
            consts=linear.consts,
            primals_in=[ad.UndefinedPrimal(v.aval) for v in linear.jaxpr.invars],
            cotangents_in=tuple(jax.tree.leaves(cotangents)),
            _j_rules=j_rules,
            _s_rules=s_rules,
            _fwd=fwd,
        )
        return jax.tree.unflatten(jax.tree.structure(primals), collected)

    return out, pullback


def _transposed(equation: Any, cotangent: Any, *inputs: Any) -> Any:
    # as neural-tangents has it, for the primitives that a linear part without calls holds; None is the identity
    if equation is None:
        return (cotangent,)
    return ad.get_primitive_transpose(equation.primitive)(cotangent, *inputs, **equation.params)
