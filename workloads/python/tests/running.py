"""Starts cells as a user would, for the tests."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.join(os.path.dirname(HERE), "lab.py")
sys.path.insert(0, os.path.dirname(HERE))


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "error", LAB] + list(arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def report_of(test, *arguments):
    """The one line of JSON that a cell prints; what this interpreter can't run is skipped, with the reason."""
    code, out, err = finish(start(*arguments))
    test.assertEqual((code, out.count("\n")), (0, 1), err)
    report = json.loads(out)
    if "skipped" in report:
        test.skipTest("%s: %s" % (report["cell"], report["skipped"]))
    return report


def is_alive(pid):
    """Whether a process is there and not just waiting to be reaped."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
