"""Many image files, decoded by several processes into an array in a file.

Each process is a command of its own, `ddjax.decoding`. Those of `multiprocessing` would import the script again that
called the library, and a script without a guard would repeat the call there.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ddjax.data.mapped import in_file
from ddjax.data.source import Work
from ddjax.decoding import ARRAY, LEFT, TASK, Part
from ddjax.machine import cores
from ddjax.storage.files import remove, replacing

MANY = 2000  # files for which starting processes pays
AT_ONCE = 500  # files that a process decodes between two notes
DONE = "done.jsonl"  # the lines that the processes have printed


def decode_by_processes(
    names: Sequence[str], root: pathlib.Path, image_size: int | None, shape: tuple[int, int], work: Work
) -> tuple[UInt8[np.ndarray, "n h w 3"], Generator[Part, None, None]]:
    """Decode files into an array in `work.folder`, where an interrupted call for the same files is continued.

    Args:
      names: of the files.
      root: the folder to which they are relative.
      image_size: as in `decode_files`.
      shape: height and width of the images.
      work: the folder, and the progress.

    Returns:
      The array, and what happened to each part of the files. The array is complete when the parts are exhausted.
    """
    task = {"names": list(names), "root": str(root.absolute()), "image_size": image_size, "at_once": AT_ONCE}
    array, known = work.folder / ARRAY, work.folder / TASK
    if not (array.exists() and known.exists() and known.read_text() == json.dumps(task)):
        remove(work.folder)
        in_file((len(names), *shape, 3), array)
        with replacing(known, "w") as file:
            file.write(json.dumps(task))
    return np.lib.format.open_memmap(array, "r+"), _parts(len(names), work)


def _parts(total: int, work: Work) -> Generator[Part, None, None]:
    """The parts of earlier calls, then those of the processes of this one."""
    done = dict(_noted(work.folder / DONE))
    left = [begin for begin in range(0, total, AT_ONCE) if begin not in done]
    (work.folder / LEFT).write_text(json.dumps(left))
    yield from done.values()
    with open(work.folder / DONE, "a") as notes, contextlib.closing(_lines(work.folder, len(left))) as lines:
        for count, line in enumerate(lines, len(done) + 1):
            print(line, end="", file=notes, flush=True)
            yield _read(line)[1]
            work.report(min(count * AT_ONCE, total), total)


def _noted(file: pathlib.Path) -> Iterator[tuple[int, Part]]:
    """The lines of a file; a last one that was not written to its end is removed."""
    text = file.read_text() if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole)
    return map(_read, whole.splitlines())


def _read(line: str) -> tuple[int, Part]:
    begin, *part = json.loads(line)
    return begin, Part(*part)


def _lines(folder: pathlib.Path, most: int) -> Generator[str, None, None]:
    """The lines that the processes print, as they come.

    Raises:
      RuntimeError: a process died.
    """
    count = min(cores(), most)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # in a session of their own, so that Ctrl-C ends this process alone, which then ends the others
    common: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "env": paths, "start_new_session": True}
    with ThreadPoolExecutor(max(1, count)) as readers, contextlib.ExitStack() as running:
        processes = []
        for i in range(count):
            command = [sys.executable, "-m", "ddjax.decoding", str(folder), str(i), str(count)]
            processes.append(running.enter_context(subprocess.Popen(command, **common)))
            running.callback(processes[-1].kill)
        waiting = {readers.submit(process.stdout.readline): process for process in processes}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                process, line = waiting.pop(future), future.result()
                if line:
                    waiting[readers.submit(process.stdout.readline)] = process
                    yield line
                elif process.wait():
                    raise RuntimeError(
                        f"a process that decodes images ended with status {process.returncode}; what is decoded stays "
                        f"in {folder}, and the same call goes on there"
                    )
