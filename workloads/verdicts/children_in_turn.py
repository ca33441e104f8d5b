"""A script that starts one command after another and waits for each; they wait for the network. The cure starts them all."""

import subprocess

from common import CURED

running = []
for _ in range(15):
    running.append(subprocess.Popen(["sleep", "0.06"]))
    if not CURED:
        running.pop().wait()
for command in running:
    command.wait()
