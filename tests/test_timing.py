"""Seconds apart from compiling, carried over resumptions, and shared work charged in full."""

import time

import adder
import jax
import jax.numpy as jnp
import pytest

from ddjax import timing
from ddjax.execution.distill import distill
from ddjax.execution.options import RunOptions
from ddjax.storage.checkpoints import Checkpoints


def heard(start, end, monkeypatch, event="/jax/core/compile/backend_compile_duration"):
    monkeypatch.setattr(timing.time, "monotonic", lambda: end)
    timing._heard(event, end - start)


def test_stretches_of_compiling_count_once(monkeypatch):
    monkeypatch.setattr(timing, "_spans", [])
    monkeypatch.setattr(timing, "_before", 0.0)
    heard(1.0, 2.0, monkeypatch)  # an inner function
    heard(3.0, 4.0, monkeypatch)  # another one
    heard(0.0, 5.0, monkeypatch)  # the outer one, in which both lie
    heard(4.5, 6.0, monkeypatch)  # of another thread, that overlaps
    heard(6.0, 9.0, monkeypatch, "/jax/other")
    assert timing.compiling() == pytest.approx(6.0)
    for i in range(200):
        heard(10.0 + i, 10.5 + i, monkeypatch)
    assert timing.compiling() == pytest.approx(106.0) and len(timing._spans) <= timing._LISTED


def test_a_first_call_is_mostly_compiling_and_a_second_is_not():
    timer = timing.Timer()
    slow = jax.jit(lambda x: sum(jnp.sin(x * i) for i in range(300)))
    slow(jnp.ones(3)).block_until_ready()
    assert timer.steady < 0.5 * timer.seconds
    again = timing.Timer()
    slow(jnp.ones(3)).block_until_ready()
    time.sleep(0.05)
    assert again.steady == pytest.approx(again.seconds, abs=5e-3) and again.steady >= 0.05


def test_seconds_of_a_stopped_run_are_carried_on(tmp_path):
    """Also to the run that it is a part of, and on to a third process."""

    def part(seconds_before):
        whole = Checkpoints(tmp_path, {}, seconds=0.0)
        mine = whole.part("one")
        mine._timer._start -= seconds_before
        return whole, mine

    def run(mine, steps):
        resumed = adder.ADDER._replace(init=None)
        distill(resumed, adder.feed(), adder.state(), steps=steps, options=RunOptions(checkpoints=mine))

    _, first = part(1000.0)
    run(first, 2)
    whole, second = part(0.0)
    second._timer._start -= 700.0  # before it was found again: not part of the run
    run(second, 4)
    assert second.carried == whole.carried == pytest.approx(1000.0, abs=30.0)
    second._timer._start -= 500.0
    second.save(5, adder.state())
    whole, third = part(0.0)
    assert third.newest(adder.state()).step == 5
    assert whole.carried == pytest.approx(1500.0, abs=60.0)
    other = whole.part("two")
    other._timer._start -= 200.0
    other.save(1, adder.state())
    whole.part("two").newest(adder.state())
    assert whole.carried == pytest.approx(1700.0, abs=60.0)  # of all parts


def test_shared_work_is_charged_to_who_collects_it():
    timing.charge("experts", timing.Share(1.0, 1.0))  # to nobody
    with timing.ledger() as outer:
        with timing.ledger() as inner:
            timing.charge("experts", timing.Share(3.0, 0.0))
        timing.charge("pool", timing.Share(None, 0.0))
    assert inner == {"experts": (3.0, 0.0)} and outer == {"pool": (None, 0.0)}
