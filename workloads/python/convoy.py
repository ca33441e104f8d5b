"""The convoy: what a busy thread does to a thread that mostly waits.

A server thread echoes datagrams; a client process sends the next when the last came back.  Each
echo is two system calls, and around each the server thread lets the GIL go and wants it back.

==================  ======================================  =======================================
cell                busy worker                             expect
==================  ======================================  =======================================
convoy-alone        none                                    tens of thousands of echoes a second
convoy-process      a process, on the other CPU             the same: it has a GIL of its own
convoy-thread       a thread of the server, other CPU       a fraction: the GIL is taken when wanted
convoy-thread-near  the same thread, on the server's CPU,   about one echo per switch interval,
                    the client on the other                 5 ms: 200 a second
==================  ======================================  =======================================

Nothing differs but where the busy work lives.  "The GIL does not matter for I/O" is not so.
"""

import multiprocessing
import os
import socket
import threading
import time

import measure
import worker

DEFAULT_SECONDS = 0.5
TIMEOUT_SECONDS = 5


def burn(name, cpu, running, stop):
    """The busy worker: sets ``running``, then pure Python until ``stop()`` says so."""
    worker.name_thread(name)
    os.sched_setaffinity(0, {cpu})
    running.set()
    while not stop():
        total = 0
        for number in range(1000):
            total += number * number


def burn_as_process(cpu, running, parent):
    """The busy worker as a process; it ends at the latest with its parent."""
    burn("busy", cpu, running, lambda: os.getppid() != parent)


def echo(server, cpu):
    """The server thread; an empty datagram ends it."""
    worker.name_thread("echo")
    os.sched_setaffinity(0, {cpu})
    while True:
        data, sender = server.recvfrom(64)
        if not data:
            return
        server.sendto(data, sender)


def client(address, cpu, seconds, connection):
    """The client process: when told to, counts echoes for ``seconds`` and times each round trip.

    It is told to once the busy worker runs: before that an echo takes a hundredth of the time, so
    that a worker that starts 2 ms late would leave most of the echoes quick.
    """
    worker.name_thread("client")
    os.sched_setaffinity(0, {cpu})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(TIMEOUT_SECONDS)
        own.connect(address)
        connection.recv()
        begin_ns = time.monotonic_ns()
        end_ns, trips_ns = begin_ns, []
        while end_ns - begin_ns < seconds * 1e9:
            sent_ns = time.monotonic_ns()
            own.send(b"ping")
            own.recv(64)
            end_ns = time.monotonic_ns()
            trips_ns.append(end_ns - sent_ns)
    connection.send((begin_ns, end_ns, trips_ns))


def run(model, seconds):
    """Run one cell; returns what it measured: work, begin, end, memory and latencies."""
    here, there = sorted(os.sched_getaffinity(0))[:2]
    context = multiprocessing.get_context("fork")
    watch = measure.Stopwatch()
    running, ended = context.Event(), threading.Event()
    processes = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        ours, theirs = context.Pipe()
        client_cpu = there if model == "thread-near" else here
        # All processes first: forking a process that has threads is asking for trouble.
        arguments = (server.getsockname(), client_cpu, seconds, theirs)
        processes.append(context.Process(target=client, args=arguments, daemon=True))
        if model == "process":
            processes.append(context.Process(target=burn_as_process, args=(there, running, os.getpid()), daemon=True))
        for process in reversed(processes):
            process.start()
        theirs.close()
        threads = [threading.Thread(target=echo, args=(server, here), daemon=True)]
        if model.startswith("thread"):
            busy_cpu = here if model == "thread-near" else there
            threads.append(threading.Thread(target=burn, args=("busy", busy_cpu, running, ended.is_set), daemon=True))
        for thread in threads:
            thread.start()
        if model != "alone" and not running.wait(TIMEOUT_SECONDS):
            raise RuntimeError("the busy worker did not run within %d s" % TIMEOUT_SECONDS)
        ours.send("go")
        answered = ours.poll(seconds + 2 * TIMEOUT_SECONDS)
        ended.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", server.getsockname())
        for thread in threads:
            thread.join()
        if not answered:
            raise RuntimeError("the client got no answer within %d s" % TIMEOUT_SECONDS)
        begin_ns, end_ns, trips_ns = ours.recv()
        watch.measure_memory()
        for process in processes[1:]:
            process.terminate()
        for process in processes:
            process.join()
    return {
        "work": len(trips_ns),
        "begin_ns": begin_ns,
        "end_ns": end_ns,
        "wall_seconds": watch.seconds(),
        "pss_bytes": watch.pss_bytes,
        "latencies_ns": trips_ns,
    }
