"""A program that writes all its input to a command and then reads the output: both block when the pipes are full.
The cure does both at the same time."""

import subprocess

from common import CURED

INPUT = b"a line of text\n" * 200_000
command = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
if CURED:
    output, _ = command.communicate(INPUT)
else:
    command.stdin.write(INPUT)
    command.stdin.close()
    output = command.stdout.read()
assert output == INPUT
