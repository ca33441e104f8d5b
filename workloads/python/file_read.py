"""The file-read task: 4 KiB reads at random places of a file.

Whether such a read waits is not decided by the word "file" but by the page cache: a cached read
is a memory copy, hence CPU work.  To wait for the disk we must go round the cache, and the
report says which way was possible (``file_access``):

``O_DIRECT``            the kernel reads from the device into our buffer
``POSIX_FADV_DONTNEED`` cached pages are dropped before each read
``page cache``          neither is possible (tmpfs); then this is CPU work

asyncio has no asynchronous file reads.  It hands them to a pool of threads, so the "asyncio" cell is
threads in disguise, and the tracer shows it.
"""

import contextlib
import mmap
import os
import random
import tempfile

import directories

READ_BYTES = 4096
FILE_BYTES = 16 << 20


def open_for_reading(path):
    """Open round the page cache where that is possible; returns (fd, name of the way)."""
    if directories.is_in_memory(path):
        return os.open(path, os.O_RDONLY), "page cache"
    buffer = mmap.mmap(-1, READ_BYTES)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        fd = None
    if fd is not None:
        try:
            os.preadv(fd, [buffer], 0)
            return fd, "O_DIRECT"
        except OSError:
            os.close(fd)
    return os.open(path, os.O_RDONLY), "POSIX_FADV_DONTNEED"


def make(job):
    """One read into a page-aligned buffer, as ``O_DIRECT`` demands."""
    fd, way = open_for_reading(job["options"]["path"])
    buffer = mmap.mmap(-1, READ_BYTES)
    places = random.Random(job["index"])
    blocks = FILE_BYTES // READ_BYTES

    def unit():
        offset = places.randrange(blocks) * READ_BYTES
        if way == "POSIX_FADV_DONTNEED":
            os.posix_fadvise(fd, offset, READ_BYTES, os.POSIX_FADV_DONTNEED)
        if os.preadv(fd, [buffer], offset) != READ_BYTES:
            raise RuntimeError("short read at %d of %s" % (offset, job["options"]["path"]))

    return unit


@contextlib.contextmanager
def prepare(options):
    """Write the file (incompressible, on disk before we go on) and remove it afterwards."""
    directory = options.get("directory") or directories.for_files()
    handle, path = tempfile.mkstemp(prefix="schedscope-lab-", dir=directory)
    try:
        block = os.urandom(1 << 20)
        with os.fdopen(handle, "wb") as file:
            for _ in range(FILE_BYTES // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        fd, way = open_for_reading(path)
        os.close(fd)
        yield {"path": path, "file_access": way, "file_system": directories.file_system_of(path)}
    finally:
        os.unlink(path)
