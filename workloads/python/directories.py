"""Where the cells put their files, and whether that is a disk."""

import contextlib
import os
import shutil
import tempfile

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


def is_in_memory(path):
    """Whether what is written to ``path`` never reaches a disk."""
    return file_system_of(path) in MEMORY_FILE_SYSTEMS


def for_files():
    """A directory on a real disk if there is one: the temporary one, else /var/tmp."""
    for directory in (tempfile.gettempdir(), "/var/tmp"):
        if os.path.isdir(directory) and not is_in_memory(directory):
            return directory
    return tempfile.gettempdir()


@contextlib.contextmanager
def scratch(parent):
    """A new directory; it goes in the end, with what is left in it."""
    path = os.path.abspath(tempfile.mkdtemp(prefix="schedscope-lab-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path)
