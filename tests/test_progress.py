"""Progress as a terminal, a notebook, a log and TensorBoard show it."""

import io
import logging
import struct
import sys
import types

import pytest

from experiments.display import progress
from experiments.display.board import Board
from experiments.display.progress import View
from experiments.running.config import Experiment


class Terminal(io.StringIO):
    def isatty(self):
        return True


def work(view):
    with view.task("cells") as outer:
        for cell in range(2):
            with view.task("students") as inner:
                inner(50, 100, {"loss": 0.5})
                inner(100, 100, {"loss": 0.25, "test_acc": 0.875})
            outer(cell + 1, 2, {"failed": 0})


def test_a_terminal_shows_tasks_below_one_another(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    view = View(stream=screen)
    work(view)
    shown = screen.getvalue()
    assert "cells" in shown and "2/2" in shown and "failed 0" in shown and "failed 0.0" not in shown and "/s" in shown
    assert view._live is None
    work(view)  # the display can be opened again


def test_brackets_in_names_are_shown(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    with View(stream=screen).task("reading images[red]/[/b]") as report:
        report(1, 2, {"loss[a]": 0.5})
    assert "reading images[red]/[/b]" in screen.getvalue() and "loss[a] 0.500" in screen.getvalue()


def test_a_live_display_has_a_text_above_its_bars_and_a_log_has_none(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LINES", "8")
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        view = View(stream=stream)
        with view.task("cells") as report:
            view.above(lambda: "\n".join(f"line {i}" for i in range(20)))
            report(1, 2, {})
        text = stream.getvalue()
        assert view.live == shown == ("line 2" in text and "... 16 more lines" in text and "line 19" in text)
        assert "line 3" not in text


def test_reading_is_shown_from_its_first_report_on(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    log = io.StringIO()
    with View(stream=log).reading("pets"):
        pass
    assert not log.getvalue()
    with View(stream=log).reading("pets") as report:
        report(7, 120)
    assert "reading pets: 7/120" in log.getvalue()


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    log = io.StringIO()
    view = View(stream=log)
    with view.task("steps") as report:
        for step in range(1, 101):
            now[0] += 0.25
            report(step, 100, {"accuracy": step / 100})
    lines = log.getvalue().splitlines()
    assert len(lines) == 5 and lines[0] == "steps: 20/100  4.0/s  accuracy 0.200  20 s left"
    assert lines[-1].startswith("steps: 100/100") and lines[-1].endswith("0 s left")


def test_short_tasks_do_not_flood_a_log():
    log = io.StringIO()
    view = View(stream=log)
    with view.task("sweep") as report:
        for done in range(100):
            work(view)
            report(done + 1, 100, {})
    assert [line.split("  ")[0] for line in log.getvalue().splitlines()] == ["sweep: 100/100"]


def test_a_rate_leaves_out_what_came_before_the_first_report(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = progress.Pace()
    now[0] = 60.0  # compiling
    assert pace(0) is None  # announced before it starts
    now[0] = 61.0
    assert pace(10) is None
    now[0] = 63.0
    assert pace(14) == 2.0 and progress.in_words(pace(14)) == "2.0/s" and progress.in_words(0.25) == "4.0 s each"
    now[0] = 70.0
    assert pace(1) is None  # the next fold
    now[0] = 71.0
    assert pace(4) == 3.0


def test_lines_of_their_own_and_what_the_library_logs(monkeypatch, caplog):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(logging.getLogger("ddjax"), "handlers", [])
    logger = logging.getLogger("ddjax.test")
    for stream in (io.StringIO(), Terminal()):
        view = View(stream=stream)
        with view.log():
            view.say("reading [bold]files[/bold]")
            with view.task("steps") as report:
                report(1, 3, {"loss": 0.5})
                logger.info("5 experts")
        logger.info("later")
        shown = stream.getvalue()
        assert "reading [bold]files[/bold]\n" in shown and "5 experts\n" in shown and "later" not in shown
    assert logging.getLogger("ddjax").handlers == [] and logging.getLogger("ddjax").propagate
    assert "5 experts" not in caplog.text  # the root logger's handler would say it a second time


def test_quiet_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("ddjax"), "handlers", [])
    view = View(quiet=True)
    with view.log():
        logging.getLogger("ddjax.test").info("nothing")
        view.say("nothing")
    work(View(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_a_notebook_has_the_live_display(monkeypatch):
    class ZMQInteractiveShell:
        pass

    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=ZMQInteractiveShell))
    page = io.StringIO()
    work(View(stream=page))
    assert page.getvalue().startswith("cells ━") and "2/2" in page.getvalue() and "failed 0" in page.getvalue()


def scalars(folder):
    """run -> tag -> values, from the files' own framing."""
    pb = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")
    found = {}
    for file in folder.glob("*/events.*"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = pb.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                found.setdefault(file.parent.name, {}).setdefault(value.tag, []).append(
                    (event.step, round(value.simple_value, 5))
                )
    return found


def test_tensorboard_gets_metrics_and_scores(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    row = {**vars(Experiment(method="random", rate=0.4)), "fingerprint": "0123456789ab", "last_acc": 0.5}
    board = Board(tmp_path)
    board.begin("several")
    work(View(quiet=True, board=board))
    board.scores(row | {"picked_acc": None})
    found = scalars(tmp_path)
    assert found["several"]["students/loss"] == [(50, 0.5), (100, 0.25)] * 2
    assert found["several"]["students/test_acc"] == [(100, 0.875)] * 2
    assert found["digits-symmetric-0.4-random-10-01234567"] == {"score/last_acc": [(0, 0.5)]}


def test_without_the_package_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"\.\[tensorboard\]"):
        Board(tmp_path)
