"""One run from the command line: stopped while its networks train, started again, and the same bits twice."""

import hashlib
import json
import signal
import time

import numpy as np
import processes
import pytest
from processes import ended

SMALL = ["--width", "4", "--depth", "1", "--limit", "200", "--students", "2", "--ipc", "1", "--save-every", "0"]
LONG = ["--method", "random", "--noise", "clean", "--protocol", "common", "--epochs", "300", *SMALL]
pytestmark = pytest.mark.slow


@pytest.fixture
def launch(tmp_path):
    def start(out, *words):
        words = ["-m", "experiments.one", *words, "--out", out, "--quiet"]
        return processes.start(*words, DDJAX_CACHE=tmp_path / "cache")

    return start


def result(out):
    [row] = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    numbers = {name: row[name] for name in ("last_acc", "best_acc", "students", "student_rate", "confusion", "skipped")}
    [made] = out.glob("*/distilled.npz")
    return numbers, hashlib.sha256(made.read_bytes()).hexdigest()


@pytest.mark.faults(2, "SIGTERM while students train", "kept, status 75 within 10 s, then the same row")
def test_stopped_while_students_train(launch, tmp_path, record_property):
    ended(launch(tmp_path / "calm", *LONG))
    stormy = tmp_path / "stormy"
    process = launch(stormy, *LONG)
    while not list(stormy.glob("*/unfinished/*/students/*/fit/step-*")) and process.poll() is None:
        time.sleep(0.02)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = ended(process, 75)
    assert time.monotonic() - start < 10 and "epochs are done, and kept" in said, said
    assert not (stormy / "results.jsonl").exists()
    ended(launch(stormy, *LONG))
    assert result(stormy) == result(tmp_path / "calm")
    assert not list(stormy.glob("*/unfinished"))
    record_property("lost", "nothing")


@pytest.mark.faults(5, "other images under the same name", "refused, the digests listed; --fresh starts anew")
def test_other_data_under_the_same_name_are_refused(launch, tmp_path):
    def write(seed):
        rng = np.random.default_rng(seed)
        labels = np.arange(60) % 3
        images = np.clip(rng.normal(60 + 60 * labels[:, None, None, None], 30, (60, 8, 8, 1)), 0, 255).astype(np.uint8)
        np.savez(tmp_path / "a.npz", images=images, labels=labels)

    write(0)
    words = ["--dataset", str(tmp_path / "a.npz"), *LONG, "--limit", "40"]
    out = tmp_path / "out"
    process = launch(out, *words)
    while not list(out.glob("*/unfinished/*/students/*/fit/step-*")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    write(1)
    said = ended(launch(out, *words), 2)
    assert "was made under another configuration (data: " in said and "Traceback" not in said, said
    assert not (out / "results.jsonl").exists()
    ended(launch(out, *words, "--fresh"))
    assert (out / "results.jsonl").exists()


@pytest.mark.faults(11, "two runs of one command at once", "the second is told the host and process of the first")
def test_the_second_of_two_is_told_who_is_first(launch, tmp_path):
    out = tmp_path / "out"
    first = launch(out, *LONG)
    while not any(lock.read_text() for lock in out.glob(".*.lock")) and first.poll() is None:
        time.sleep(0.02)
    said = ended(launch(out, *LONG), 2)
    assert f"is held by process {first.pid} on" in said and "Traceback" not in said, said
    ended(first)
    result(out)


def test_the_same_command_gives_the_same_bits(launch, tmp_path):
    words = ["--method", "dm", "--steps", "20", "--options", "batch=16", "--epochs", "5", *SMALL, "--deterministic"]
    for name in ("one", "two"):
        ended(launch(tmp_path / name, *words))
    assert result(tmp_path / "one") == result(tmp_path / "two")
