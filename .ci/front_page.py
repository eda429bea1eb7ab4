"""Run every Python block of a page, in order, each in its own namespace: `python front_page.py README.md`."""

import pathlib
import re
import sys

for number, block in enumerate(re.findall(r"```python\n(.*?)```", pathlib.Path(sys.argv[1]).read_text(), re.S), 1):
    print(f"block {number}")
    exec(compile(block, f"block {number}", "exec"), {})
