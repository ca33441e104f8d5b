"""The file-read task: 4 KiB reads at random places of a file.

Whether such a read waits is not decided by the word "file" but by the page cache: a cached read
is a memory copy, hence CPU work.  To wait for the disk we must go round the cache, and the
report says which way was possible (``file_access``):

``O_DIRECT``            the kernel reads from the device into our buffer
``POSIX_FADV_DONTNEED`` cached pages are dropped before each read
``page cache``          neither is possible (tmpfs); then this is CPU work
"""

import contextlib
import mmap
import os
import random
import tempfile

READ_BYTES = 4096
FILE_BYTES = 16 << 20
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")


def file_system_of(path):
    """The file system type that holds ``path`` ("ext4", "tmpfs", ...), or "unknown"."""
    device = os.stat(path).st_dev
    wanted = "%d:%d" % (os.major(device), os.minor(device))
    try:
        with open("/proc/self/mountinfo") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[2] == wanted:
                    return fields[fields.index("-") + 1]
    except OSError:
        pass
    return "unknown"


def open_for_reading(path):
    """Open round the page cache where that is possible; returns (fd, name of the way)."""
    if file_system_of(path) in MEMORY_FILE_SYSTEMS:
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


def make_async(job):
    """The same read for an event loop, which has no asynchronous file reads.

    asyncio hands them to a pool of threads, so this "asyncio" cell is threads in disguise,
    and the tracer shows it.
    """
    import asyncio

    plain = make(job)

    async def unit():
        await asyncio.get_running_loop().run_in_executor(None, plain)

    return unit


def directory_for_files():
    """A directory on a real disk if there is one: the temporary one, else /var/tmp."""
    for directory in (tempfile.gettempdir(), "/var/tmp"):
        if os.path.isdir(directory) and file_system_of(directory) not in MEMORY_FILE_SYSTEMS:
            return directory
    return tempfile.gettempdir()


@contextlib.contextmanager
def prepare(options):
    """Write the file (incompressible, on disk before we go on) and remove it afterwards."""
    directory = options.get("directory") or directory_for_files()
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
        yield {"path": path, "file_access": way, "file_system": file_system_of(path)}
    finally:
        os.unlink(path)
