"""`pytest -m faults --faults-table=PATH` writes what was tried, what survived and what was lost, from that very run.

A table that is there already is brought up to date: kinds of fault that this run did not try keep their line.

A test says `@pytest.mark.faults(number, what is done to it, what must hold)`; what it saw lost it records with
`record_property("lost", ...)`. Without a word a test that passes has lost nothing.
"""

import csv
import pathlib

import pytest

FAULTS = {
    1: "SIGKILL at five random steps of each distiller",
    2: "SIGTERM and Ctrl-C",
    3: "killed inside a save, before and after the rename",
    4: "newest checkpoint damaged",
    5: "resumed under another configuration, data or schema",
    6: "updates that are not finite",
    7: "bad labels",
    8: "bad images",
    9: "noise for K = 2..100 and rates 0..1",
    10: "CIFAR-N file in the wrong order, empty, truncated, with a payload",
    11: "sweep with cells that fail, launchers that collide, a full disk",
    12: "distilled file in the wrong place",
}
HEAD = ("fault", "what", "tried", "must hold", "cases", "survived", "lost")
_FOUND = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--faults-table", type=pathlib.Path, help="write the table of faults that this run tried")


def pytest_configure(config):
    config.stash[_FOUND] = []


@pytest.fixture(autouse=True)
def _said(request, record_property):
    for marker in request.node.iter_markers("faults"):
        record_property("fault", marker.args)


def pytest_runtest_logreport(report):
    said = dict(report.user_properties)
    if "fault" in said and (report.when == "call" or report.failed or report.skipped):
        pytest_runtest_logreport.found.append((report.nodeid, report.outcome, said))


pytest_runtest_logreport.found = []


def pytest_sessionfinish(session):
    path = session.config.getoption("--faults-table")
    if path is None or hasattr(session.config, "workerinput"):
        return
    lines = {}
    if path.exists():
        with open(path, newline="") as file:
            lines = {(int(line[0]), line[2], line[3]): line for line in list(csv.reader(file))[1:]}
    lines |= {(line[0], line[2], line[3]): line for line in rows(pytest_runtest_logreport.found)}
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(lines[key] for key in sorted(lines))


def rows(found):
    """One line for each kind of fault, in order; a case that was skipped was not tried."""
    groups = {}
    for name, outcome, said in found:
        if outcome != "skipped":
            groups.setdefault(tuple(said["fault"]), []).append((name, outcome, said))
    for (number, tried, must), cases in sorted(groups.items()):
        bad = [name for name, outcome, _ in cases if outcome != "passed"]
        lost = sorted({said["lost"] for _, _, said in cases if "lost" in said}) or ["nothing"]
        yield number, FAULTS[number], tried, must, len(cases), len(cases) - len(bad), "; ".join(bad or lost)
