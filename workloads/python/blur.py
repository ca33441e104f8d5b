"""The blur task: a box blur of a small grey picture, pixel by pixel in Python.

Every pixel becomes the mean of the square around it.  Pictures do not depend on each other, so the
workers split them; rows of one large picture would do as well.

Expect: processes and sub-interpreters scale with the cores.  Threads do not: the loops over the
pixels are bytecode, so whoever computes holds the GIL, and a second thread only takes turns.
(NumPy would do it in C code, and lets the GIL go for that.)
"""

import binascii

WIDTH, HEIGHT, RADIUS = 64, 48, 2
# Of the sample picture; the tests hold the blur against its definition.
BLURRED_CRC32 = 0xF69A1FA6


def make(_job):
    """Blur one picture; its checksum says whether it came out right."""
    picture = sample_picture(WIDTH, HEIGHT)

    def unit():
        if binascii.crc32(blur(picture, WIDTH, HEIGHT, RADIUS)) != BLURRED_CRC32:
            raise RuntimeError("the blurred picture is not the one that it should be")

    return unit


def sample_picture(width, height):
    """Diagonal stripes of all brightnesses with dark dots: one byte for each pixel, row after row."""
    return bytes(
        0 if x % 7 == y % 5 == 3 else (5 * x + 3 * y) % 256 for y in range(height) for x in range(width)
    )


def blur(picture, width, height, radius):
    """The mean of the square around each pixel; at the border, of the part of it that is there.

    First sums along the rows, then sums of these down the columns.  From one place to the next
    only the ends of the span differ, so the work does not grow with the radius.
    """
    row_sums = []
    for start in range(0, width * height, width):
        row_sums += span_sums(picture[start:start + width], radius)
    blurred = bytearray(width * height)
    across = [span_length(x, width, radius) for x in range(width)]
    for x in range(width):
        for y, total in enumerate(span_sums(row_sums[x::width], radius)):
            blurred[y * width + x] = total // (across[x] * span_length(y, height, radius))
    return bytes(blurred)


def span_sums(values, radius):
    """For each place the sum of the values that are at most ``radius`` places away."""
    length = len(values)
    total = sum(values[:radius])
    sums = []
    for place in range(length):
        if place + radius < length:
            total += values[place + radius]
        if place > radius:
            total -= values[place - radius - 1]
        sums.append(total)
    return sums


def span_length(place, length, radius):
    """How many places of 0 to ``length`` - 1 are at most ``radius`` away."""
    return min(place + radius, length - 1) - max(place - radius, 0) + 1
