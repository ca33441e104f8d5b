"""What every worker does, be it a thread, a process, a sub-interpreter or a coroutine.

1. note the time of its first instruction (that minus the start call is the cost of starting it),
2. take a name that the kernel can see,
3. prepare, say that it is ready, and wait for the start signal,
4. do its share of the units, counting them.

All workers begin together, so the time of work holds no time of starting.
"""

import os
import signal

import tasks
from measure import monotonic_ns

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


# Set where processes are told by the name that they were started under. In the environment, since workers inherit that however they
# are started.
KEEP_PROCESS_NAMES = "LAB_KEEP_PROCESS_NAMES"


def name_thread(name):
    """Give the calling thread a name that scheduler events carry (15 bytes at most)."""
    try:
        pid, _, tid = os.readlink("/proc/thread-self").split("/")
        if pid == tid and KEEP_PROCESS_NAMES in os.environ:
            return  # The name of the first thread is the process's.
        with open("/proc/thread-self/comm", "w") as comm:
            comm.write(name[:15])
    except OSError:
        pass  # The name helps the reader; the work does not depend on it.


def pin_thread(pin, index):
    """Confine the calling thread to one CPU: its own ("spread") or the same for all ("one")."""
    if pin is None:
        return
    usable = sorted(os.sched_getaffinity(0))
    cpu = usable[0] if pin == "one" else usable[index % len(usable)]
    os.sched_setaffinity(0, {cpu})


def process_control(option, value):
    """``prctl(option, value)``; false where this interpreter cannot call it."""
    try:
        import ctypes
    except ImportError:
        return False
    return ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0


def end_with(parent):
    """Have the kernel end the calling process when its parent, of that id, ends in whatever way."""
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # It ended before we could ask.


def end_for_good(process):
    """Kill a ``multiprocessing`` process that does not end by itself, and wait for its end."""
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def begin(job):
    """Steps 1 and 2; returns the announcement for the parent."""
    first_ns = monotonic_ns()
    name_thread("%s-%d" % (tasks.row_of(job["task"]).label, job["index"]))
    pin_thread(job["options"].get("pin"), job["index"])
    return {"index": job["index"], "first_ns": first_ns, "pid": os.getpid()}


def goes_on(job, done, begin_ns):
    """True while the share is not done (fixed work) or the time is not up (fixed time)."""
    if job["seconds"] is None:
        return done < job["work"]
    return monotonic_ns() - begin_ns < job["seconds"] * 1e9


def run(job, announce, wait_for_go):
    """The whole life of a worker that is not a coroutine; returns its report."""
    announcement = begin(job)
    unit = tasks.unit_for(job)
    announce(announcement)
    wait_for_go()
    begin_ns = monotonic_ns()
    done = 0
    while goes_on(job, done, begin_ns):
        unit()
        done += 1
    return finish(announcement, done, begin_ns)


def finish(announcement, done, begin_ns):
    """The report: the announcement and what was done from when to when."""
    return dict(announcement, work=done, begin_ns=begin_ns, end_ns=monotonic_ns())
