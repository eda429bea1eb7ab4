"""Signals are deferred where the state can be saved, and end the process elsewhere; handlers are restored."""

import os
import signal
import sys
import time

import pytest

from ddjax import stopping
from experiments.display import cli


@pytest.fixture
def exits(monkeypatch):
    """Statuses with which the process would have ended at once."""
    found = []
    monkeypatch.setattr("os._exit", found.append)
    return found


def test_a_signal_ends_what_keeps_nothing(capsys, exits):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.Stopped) as ended, stopping.in_order():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 75 and "stopped by SIGTERM: no computation with checkpoints" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before and not stopping.requested() and not exits


def test_a_signal_waits_for_code_that_looks(exits):
    with stopping.in_order():
        with stopping.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            assert stopping.requested()
            os.kill(os.getpid(), signal.SIGTERM)  # as a parent passes it on
            assert not exits
            os.kill(os.getpid(), signal.SIGINT)  # out of patience
            assert exits == [130]
        assert stopping.requested()
    assert not stopping.requested()


def test_a_computation_that_exceeds_the_grace_is_ended(monkeypatch, capsys, exits):
    monkeypatch.setenv("DDJAX_GRACE", "0.05")
    with stopping.in_order(), stopping.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        while not exits:
            pass
    assert exits == [143] and "the previous checkpoint remains" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["8 s", "-1", "nan", "inf"])
def test_a_grace_that_is_no_time_is_refused(monkeypatch, asked):
    monkeypatch.setenv("DDJAX_GRACE", asked)
    with (
        pytest.raises(ValueError, match=f"DDJAX_GRACE must be a number of seconds from 0; got '{asked}'"),
        stopping.in_order(),
    ):
        pytest.fail("the block has begun")


def test_a_signal_within_a_finalizer_ends_the_process_too(capsys, exits):
    class Interrupted:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    hook, end = sys.unraisablehook, time.monotonic() + 2
    with pytest.raises(stopping.Stopped), stopping.in_order():
        Interrupted()
        while time.monotonic() < end:
            time.sleep(0.01)  # Python 3.13.0 loses an exception that a handler raises at the jump of an empty loop
    assert sys.unraisablehook is hook and not exits and "Traceback" not in capsys.readouterr().err


def test_stopping_is_no_failure_that_anyone_catches():
    assert not issubclass(stopping.Stopped, Exception)


def test_a_command_ends_without_waiting_for_a_computation(monkeypatch):
    class Ended(BaseException):
        pass

    def ended(status):
        raise Ended(status)

    def command() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(sys, "argv", ["command"])
    monkeypatch.setattr("os._exit", ended)
    with pytest.raises(Ended, match="75"):
        cli.main(command)
