"""Two tasks that encryption is made of: one in C code, one in Python.

PBKDF2 (``hashlib.pbkdf2_hmac``) makes a key from a password, slowly on purpose.  It is one call of
OpenSSL, and ``hashlib`` lets the GIL go for all of it.  Expect: threads run in parallel, like
processes, and cost less.

ChaCha20 (RFC 8439) is written in Python here, as nobody should do it for secrets.  Expect: threads
do not help, since additions and shifts of integers are bytecode, and that needs the GIL.  Processes
and sub-interpreters scale.

"Encryption is CPU-bound, so threads cannot help" confuses what is computed with who computes it.
"""

import hashlib
import struct

PASSWORD, SALT, ROUNDS = b"a long password", b"schedscope", 10000
# Held against another implementation by the tests.
DERIVED_KEY = "1af51d52bcd1877c9398d5b59561d1e2d2c8b9d889473a4676b4344e1be2a4e0"

# The example of RFC 8439, section 2.4.2.
KEY = bytes(range(32))
NONCE = bytes.fromhex("000000000000004a00000000")
FIRST_BLOCK = 1
MESSAGE = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you "
    b"only one tip for the future, sunscreen would be it."
)
CIPHERTEXT = bytes.fromhex(
    "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
    "f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"
    "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
    "5af90bbf74a35be6b40b8eedf2785e42874d"
)

ALL_BITS = 0xFFFFFFFF
# Which words of the state are mixed with each other: the columns, then the diagonals.
QUARTERS = [
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
]


def make_pbkdf2(_job):
    """Derive one key with 10,000 rounds of HMAC-SHA-256 (for real passwords, take hundreds of thousands)."""
    expected = bytes.fromhex(DERIVED_KEY)

    def unit():
        if hashlib.pbkdf2_hmac("sha256", PASSWORD, SALT, ROUNDS) != expected:
            raise RuntimeError("PBKDF2 gave another key than it should")

    return unit


def make_cipher(_job):
    """Encrypt the example of RFC 8439, two blocks; it must come out as the RFC has it."""

    def unit():
        if chacha20(KEY, FIRST_BLOCK, NONCE, MESSAGE) != CIPHERTEXT:
            raise RuntimeError("ChaCha20 gave another ciphertext than RFC 8439")

    return unit


def chacha20(key, first_block, nonce, text):
    """Encrypt ``text``, or decrypt what was encrypted: XOR with the key stream either way."""
    result = bytearray()
    for start in range(0, len(text), 64):
        stream = chacha20_block(key, first_block + start // 64, nonce)
        result.extend(byte ^ mask for byte, mask in zip(text[start:start + 64], stream))
    return bytes(result)


def chacha20_block(key, number, nonce):
    """64 bytes of key stream."""
    initial = struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", number) + nonce)
    state = list(initial)
    for _ in range(10):
        for quarter in QUARTERS:
            quarter_round(state, *quarter)
    return struct.pack("<16I", *[(mixed + word) & ALL_BITS for mixed, word in zip(state, initial)])


def quarter_round(state, a, b, c, d):
    """Mix four words of the state."""
    for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[first] = (state[first] + state[second]) & ALL_BITS
        word = state[third] ^ state[first]
        state[third] = (word << bits | word >> (32 - bits)) & ALL_BITS
