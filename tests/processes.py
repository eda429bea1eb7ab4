"""Python in processes of its own."""

import json
import os
import pathlib
import socket
import subprocess
import sys
from typing import NamedTuple

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent


def environment(**own):
    """The environment of a process that finds ddjax and the modules of the tests, and compiles as the suite does."""
    paths = os.pathsep.join([str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    quick = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "true", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return os.environ | quick | {"PYTHONPATH": paths} | {name: str(value) for name, value in own.items()}


def start(*words, **own):
    """Start Python; standard error goes to standard output."""
    command = [sys.executable, *map(str, words)]
    return subprocess.Popen(
        command, env=environment(**own), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process, status=0):
    """Wait for a process that `start` started; returns its output."""
    output = process.communicate(timeout=600)[0]
    assert process.returncode == status, output
    return output


def answer(*words, **own):
    """Run Python and read the last line of its standard output as JSON."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, env=environment(**own), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def free_port():
    """A port of this machine that nothing listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def devices(count):
    """Variables of a process with so many simulated devices."""
    return {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"}


class Fake(NamedTuple):
    """A job whose process dies, or that leaves a file. It is here because this module is imported quickly."""

    place: str
    dies: bool = False
    methods: frozenset[str] = frozenset()

    def __call__(self):
        if self.dies:
            os._exit(9)
        pathlib.Path(self.place).write_text(str(sorted(os.sched_getaffinity(0))))
        return []
