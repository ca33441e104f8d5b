"""A process for each line of a list. The cure reads the list itself."""

import subprocess

from common import CURED

found = 0
for number in range(400):
    if CURED:
        found += "7" in str(number)
    else:
        found += subprocess.run(["grep", "-q", "7"], input=str(number), text=True, check=False).returncode == 0
assert found == 76
