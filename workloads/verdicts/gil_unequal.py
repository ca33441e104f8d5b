"""The same, one of two with twice as much to do: processes are as slow as that one."""

from common import compute, spread

spread(compute, [500, 250])
