"""Frames of 48 MiB whose checksum is taken, each in a buffer of its own. The cure has one buffer for all."""

import zlib

from common import CURED

FRAME_BYTES = 48 << 20

buffer = bytearray(FRAME_BYTES)
checksum = 0
for frame in range(30):
    if not CURED:
        buffer = bytearray(FRAME_BYTES)
    buffer[::4096] = bytes([frame]) * (FRAME_BYTES // 4096)
    checksum = zlib.adler32(memoryview(buffer)[: FRAME_BYTES // 4], checksum)
