"""A program that waits for the end of a command and then reads its output: the command blocks when the pipe is full, and does not end.
The cure reads while it waits."""

import subprocess

from common import CURED

LINES = 200_000
command = subprocess.Popen(["seq", str(LINES)], stdout=subprocess.PIPE)
if CURED:
    output, _ = command.communicate()
else:
    command.wait()
    output = command.stdout.read()
assert output.count(b"\n") == LINES
