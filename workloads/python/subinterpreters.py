"""Sub-interpreters: threads of one process, each with an interpreter and, since 3.12, a GIL of its own.

Expect: CPU-bound Python scales like processes although it is one process.  "A thread" and
"the GIL" are two things; this cell proves it.
"""

import json
import os
import sys
import threading
import time

import measure
import models

HERE = os.path.dirname(os.path.abspath(__file__))

# What runs inside a sub-interpreter.  It shares no objects with us, but file descriptors it does.
SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import subinterpreters
subinterpreters.worker_main({job!r}, {go_fd}, {report_fd})
"""


def open_api():
    """Returns ``run(script)``, which runs a script in a new interpreter and then destroys it."""
    if sys.version_info >= (3, 14):
        from concurrent import interpreters

        def run(script):
            interpreter = interpreters.create()
            try:
                interpreter.exec(script)
            finally:
                interpreter.close()

    elif sys.version_info >= (3, 13):
        import _interpreters

        def run(script):
            interpreter = _interpreters.create("isolated")
            try:
                failure = _interpreters.exec(interpreter, script)
            finally:
                _interpreters.destroy(interpreter)
            if failure is not None:
                raise RuntimeError(failure.formatted)

    else:
        import _xxsubinterpreters

        def run(script):
            interpreter = _xxsubinterpreters.create(isolated=True)
            try:
                _xxsubinterpreters.run_string(interpreter, script)
            finally:
                _xxsubinterpreters.destroy(interpreter)

    return run


def unavailable():
    """Why this interpreter can't run sub-interpreters in parallel, or None if it can."""
    if sys.version_info < (3, 12):
        return "needs Python 3.12: before that, all sub-interpreters share one GIL"
    try:
        open_api()
    except ImportError as error:
        return "this interpreter has no sub-interpreters: %s" % error
    return None


def worker_main(job, go_fd, report_fd):
    """A worker inside its own interpreter; lines of JSON on a pipe carry what it says."""
    import worker

    def say(message):
        os.write(report_fd, (json.dumps(message) + "\n").encode("ascii"))

    say(worker.run(json.loads(job), say, lambda: os.read(go_fd, 1)))


def run_subinterpreters(jobs, start_together=True):
    """One thread with a new interpreter per worker; the start cost includes its creation.

    With ``start_together`` false, each is started when the one before is there.
    """
    run_script = open_api()
    go_read, go_write = os.pipe()
    report_read, report_write = os.pipe()

    def body(job):
        script = SCRIPT.format(here=HERE, job=json.dumps(job), go_fd=go_read, report_fd=report_write)
        try:
            run_script(script)
        except Exception as error:
            os.write(report_write, (json.dumps({"error": str(error)[:1000]}) + "\n").encode("ascii"))

    watch = measure.Stopwatch()
    starts_ns, threads = {}, []
    with os.fdopen(report_read) as lines:
        for job in jobs:
            thread = threading.Thread(target=body, args=(job,), daemon=True)
            starts_ns[job["index"]] = time.monotonic_ns()
            thread.start()
            threads.append(thread)
            if not start_together:
                listen(lines)
        for _ in threads if start_together else []:
            listen(lines)
        watch.measure_memory()
        os.write(go_write, b"g" * len(threads))
        reports = [listen(lines) for _ in threads]
        for thread in threads:
            thread.join()
    outcome = models.Outcome(watch.seconds(), watch.pss_bytes, starts_ns, reports)
    for fd in (go_read, go_write, report_write):
        os.close(fd)
    return outcome


def listen(lines):
    """The next message of any worker."""
    message = json.loads(lines.readline())
    if "error" in message:
        raise RuntimeError("a sub-interpreter failed: %s" % message["error"])
    return message
