"""The same, one of three with more to do than the others together: processes are as slow as that one."""

from common import compute, spread

spread(compute, [500, 200, 150])
