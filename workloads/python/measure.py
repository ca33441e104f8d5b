"""Clocks, memory, the interpreter's properties, and the one line that a cell prints.

Times are ``CLOCK_MONOTONIC``: the same clock in every process and in the kernel's own events,
so a worker's start can be compared with its parent's call and a window with a trace.
"""

import os
import platform
import statistics
import sys
import sysconfig
import time

try:
    from time import monotonic_ns
except ImportError:  # Python 3.6

    def monotonic_ns():
        """Nanoseconds on the monotonic clock."""
        return int(time.monotonic() * 1e9)


SCHEMA = "schedscope.workload/1"


def children_by_parent():
    """Parent process id -> its children's ids, for all processes there are."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry) as stat:
                # The name, in parentheses, may itself hold spaces and parentheses.
                parent = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It ended meanwhile.
        children.setdefault(parent, []).append(int(entry))
    return children


def process_tree(root):
    """``root`` and all its descendants: with forkserver, workers are grandchildren."""
    children = children_by_parent()
    tree, pending = [], [root]
    while pending:
        pid = pending.pop()
        tree.append(pid)
        pending.extend(children.get(pid, []))
    return tree


def pss_bytes(pid):
    """Proportional set size of one process, or None if the kernel does not say.

    PSS counts a page shared by n processes as 1/n.  The resident size (RSS) counts it n times,
    which makes forked processes look several times larger than they are.
    """
    try:
        with open("/proc/%d/smaps_rollup" % pid) as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def tree_pss_bytes():
    """PSS of this process and all its descendants, or None if any of them cannot be read."""
    sizes = [pss_bytes(pid) for pid in process_tree(os.getpid())]
    return None if None in sizes else sum(sizes)


class Stopwatch:
    """Wall time of a run, standing still while memory is measured: reading PSS takes milliseconds."""

    def __init__(self):
        self.started_ns = monotonic_ns()
        self.paused_ns = 0
        self.pss_bytes = None

    def measure_memory(self):
        """Read the tree's PSS; the time it takes does not count."""
        before = monotonic_ns()
        self.pss_bytes = tree_pss_bytes()
        self.paused_ns += monotonic_ns() - before

    def seconds(self):
        """Seconds since the start without the pauses."""
        return (monotonic_ns() - self.started_ns - self.paused_ns) / 1e9


def gil_enabled():
    """True, False, or None where nobody can tell (an interpreter other than CPython)."""
    if hasattr(sys, "_is_gil_enabled"):
        return sys._is_gil_enabled()
    if platform.python_implementation() != "CPython":
        return None
    return not sysconfig.get_config_var("Py_GIL_DISABLED")


def interpreter():
    """Which interpreter ran the cell."""
    return {
        "implementation": platform.python_implementation(),
        "version": platform.python_version(),
        "gil": gil_enabled(),
        "switch_interval_seconds": sys.getswitchinterval(),
    }


def percentiles(values_ns):
    """Count, median, 99th percentile and maximum in seconds (nearest rank)."""
    ordered = sorted(values_ns)

    def rank(fraction):
        return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] / 1e9

    return {"count": len(ordered), "p50": rank(0.5), "p99": rank(0.99), "max": ordered[-1] / 1e9}


def latency_summary(cell, measured):
    """The report of a cell that is about latency; its one worker is who waits."""
    report = {"index": 0, "work": measured["work"]}
    report.update(begin_ns=measured["begin_ns"], end_ns=measured["end_ns"])
    row = summary(cell, measured["wall_seconds"], measured["pss_bytes"], {}, [report])
    row["latency_seconds"] = percentiles(measured["latencies_ns"])
    return row


def start_times_ns(starts_ns, reports):
    """From the call that starts a worker to its first instruction, for each worker that was started."""
    return [
        report["first_ns"] - starts_ns[report["index"]] for report in reports if report["index"] in starts_ns
    ]


def summary(cell, wall_seconds, pss, starts_ns, reports):
    """The cell's report, ready for JSON.

    ``work_seconds`` spans the first worker's begin to the last one's end.  ``window_monotonic_ns``
    is the part of it in which *all* workers were at work (null if there was none): the window to
    look at from outside.
    """
    reports = sorted(reports, key=lambda report: report["index"])
    begins = [report["begin_ns"] for report in reports]
    ends = [report["end_ns"] for report in reports]
    window = [max(begins), min(ends)]
    starts = start_times_ns(starts_ns, reports)
    return {
        "schema": SCHEMA,
        "cell": cell.id,
        "model": cell.model,
        "task": cell.task,
        "workers": len(reports),
        "work": sum(report["work"] for report in reports),
        "work_by_worker": [report["work"] for report in reports],
        "wall_seconds": wall_seconds,
        "start_seconds": statistics.median(starts) / 1e9 if starts else None,
        "work_seconds": (max(ends) - min(begins)) / 1e9,
        "window_monotonic_ns": window if window[0] < window[1] else None,
        "pss_bytes": pss,
        "interpreter": interpreter(),
    }
