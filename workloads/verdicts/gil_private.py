"""Threads that compute in Python on data of their own. The cure has processes instead."""

from common import compute, spread

spread(compute, [400] * 2)
