"""Messages between two workers: what threads get for nothing and processes have to pay for.

==================  =====================================================  =========================
cell                way of a message                                       expect
==================  =====================================================  =========================
queue-threads       ``queue.Queue``: a reference, nothing is copied        most messages by far
ipc-queue           ``multiprocessing.Queue``: pickled by the sender,      the fewest
                    sent through a pipe by a thread of its own
ipc-pipe            ``multiprocessing.Pipe``: pickled, through the kernel  some more
ipc-shared-memory   copied into memory that both have, with semaphores     more with large messages:
                    to say so                                              saying so costs the same
ping-pong-threads   two ``queue.Queue``, one message at a time             two hand-overs a trip
ping-pong-pipe      a pipe, one message at a time                          two hand-overs a trip
==================  =====================================================  =========================

How many switches a message costs is the scheduler's choice, too: who is on the same CPU takes turns
at every message, who is on another may find many at once.

All of them hold a limited number of messages, so the memory that they need is limited, too.
"""

import contextlib
import os
import queue
import signal
import threading

import measure
import models
import worker
from measure import monotonic_ns

DEFAULT_BYTES = 1024
BUFFERED_MESSAGES = 64
BUFFERED_BYTES = 8 << 20


class Ring:
    """A ring of places for messages in shared memory, for one sender and one receiver."""

    def __init__(self, context, places, size):
        from multiprocessing import shared_memory

        self.memory = shared_memory.SharedMemory(create=True, size=places * size)
        self.places, self.size = places, size
        self.free, self.used = context.Semaphore(places), context.Semaphore(0)
        self.sent = self.received = 0

    def send(self, message):
        """Copy a message in, when there is room."""
        self.free.acquire()
        start = self.sent % self.places * self.size
        self.memory.buf[start:start + self.size] = message
        self.sent += 1
        self.used.release()

    def receive(self):
        """Copy a message out, when there is one."""
        self.used.acquire()
        start = self.received % self.places * self.size
        message = bytes(self.memory.buf[start:start + self.size])
        self.received += 1
        self.free.release()
        return message

    def remove(self):
        """Give the memory back to the system."""
        self.memory.close()
        self.memory.unlink()


@contextlib.contextmanager
def one_way(context, cell, size):
    """A channel: the functions to send and to receive one message."""
    room = max(2, min(BUFFERED_MESSAGES, BUFFERED_BYTES // size))
    if cell.model == "shared-memory":
        ring = Ring(context, room, size)
        try:
            yield ring.send, ring.receive
        finally:
            ring.remove()
    elif cell.model == "pipe":
        reader, writer = context.Pipe(duplex=False)
        yield writer.send, reader.recv
    else:
        channel = queue.Queue(room) if cell.model == "threads" else context.Queue(room)
        yield channel.put, channel.get


def send_all(send, count, message):
    """The sender."""
    for _ in range(count):
        send(message)


def receive_all(receive, count):
    """The receiver; returns the number of bytes."""
    return sum(len(receive()) for _ in range(count))


def send_back(receive, send, count):
    """The far side of ping-pong."""
    for _ in range(count):
        send(receive())


def play(send, receive, count, message):
    """The near side of ping-pong; returns the number of bytes that came back."""
    total = 0
    for _ in range(count):
        send(message)
        total += len(receive())
    return total


def other_side(control, work, parent):
    """The worker that is not the main thread: get ready, wait, work, report, stay until it may go."""
    if parent is not None:
        worker.end_with(parent)
    worker.name_thread("messages-1")
    control.send("ready")
    control.recv()
    begin_ns = monotonic_ns()
    work()
    control.send((begin_ns, monotonic_ns()))
    control.recv()


@contextlib.contextmanager
def beside(context, model, work):
    """Run ``work()`` in another thread or process; gives the connection to talk to it."""
    ours, theirs = context.Pipe()
    if model == "threads":
        thread = threading.Thread(target=other_side, args=(theirs, work, None), daemon=True)
        thread.start()
        yield ours
        thread.join()
        return
    process = context.Process(target=other_side, args=(theirs, work, os.getpid()), daemon=True)

    def on_child(_number, _frame):
        # Nothing else would tell of its death: we hold the other end of each channel ourselves.
        if process.exitcode:
            raise RuntimeError("the other process ended with exit code %s" % process.exitcode)

    before = signal.signal(signal.SIGCHLD, on_child)
    process.start()
    try:
        yield ours
        process.join()
    finally:
        signal.signal(signal.SIGCHLD, before)
        if process.is_alive():
            worker.end_for_good(process)


def exchange(context, cell, count, message, channels):
    """Run both sides; returns the outcome and the seconds from the first begin to the last message."""
    if cell.task == "ping-pong":
        (send, receive), (send_other, receive_other) = channels
        far, near = (lambda: send_back(receive, send_other, count)), (
            lambda: play(send, receive_other, count, message)
        )
    else:
        send, receive = channels[0]
        far, near = (lambda: send_all(send, count, message)), (lambda: receive_all(receive, count))
    worker.name_thread("messages-0")
    watch = measure.Stopwatch()
    with beside(context, cell.model, far) as control:
        control.recv()
        watch.measure_memory()
        control.send("go")
        begin_ns = monotonic_ns()
        received = near()
        end_ns = monotonic_ns()
        far_begin_ns, far_end_ns = control.recv()
        control.send("end")
    if received != count * len(message):
        raise RuntimeError("%d bytes came of %d" % (received, count * len(message)))
    reports = [
        {"index": 0, "work": count, "begin_ns": begin_ns, "end_ns": end_ns},
        {"index": 1, "work": 0, "begin_ns": far_begin_ns, "end_ns": far_end_ns},
    ]
    seconds = (end_ns - min(begin_ns, far_begin_ns)) / 1e9
    return models.Outcome(watch.seconds(), watch.pss_bytes, {}, reports), seconds


def run(cell, settings):
    """Run one cell; returns the outcome and the details."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    count, size = settings.messages or cell.work, settings.bytes or DEFAULT_BYTES
    with contextlib.ExitStack() as stack:
        ways = 2 if cell.task == "ping-pong" else 1
        channels = [stack.enter_context(one_way(context, cell, size)) for _ in range(ways)]
        outcome, seconds = exchange(context, cell, count, bytes(size), channels)
    rate = count / seconds
    details = {"bytes_per_message": size, "seconds": seconds}
    if cell.task == "ping-pong":
        details.update(round_trips=count, round_trips_per_second=rate)
    else:
        details.update(messages=count, messages_per_second=rate, bytes_per_second=rate * size)
    return outcome, details
