"""The file-write task: write a file, and have it on the disk before going on.

``write`` alone copies to the page cache, which is CPU work.  It is ``fsync`` that waits: the thread
is blocked until the disk has the data and the journal of the file system has the file.

Expect: threads overlap these waits like processes, since a blocked system call holds no GIL.  How
much faster that is, the disk and the file system decide: several files may share one commit of the
journal.  asyncio hands files to a pool of threads, as in ``file_read.py``.

On tmpfs there is nothing to wait for; ``file_access`` in the report is "page cache" then, else "fsync".
"""

import contextlib
import os

import directories

FILE_BYTES = 64 << 10


def make(job):
    """Write a new file, wait for the disk, read it again, and remove it."""
    path = os.path.join(job["options"]["path"], "worker-%d" % job["index"])
    block = os.urandom(FILE_BYTES)

    def unit():
        with open(path, "xb", buffering=0) as file:
            file.write(block)
            os.fsync(file.fileno())
        with open(path, "rb", buffering=0) as file:
            if file.read(FILE_BYTES + 1) != block:
                raise RuntimeError("%s does not hold what was written to it" % path)
        os.unlink(path)

    return unit


@contextlib.contextmanager
def prepare(options):
    """A directory for the workers' files."""
    with directories.scratch(options.get("directory") or directories.for_files()) as path:
        yield {
            "path": path,
            "file_access": "page cache" if directories.is_in_memory(path) else "fsync",
            "file_system": directories.file_system_of(path),
        }
