"""Holds what the tasks compute against published examples and other ways to compute it.

Each must notice a wrong result, too.
"""

import binascii
import concurrent.futures
import contextlib
import hashlib
import hmac
import http.server
import os
import random
import tempfile
import threading
import unittest
from unittest import mock

from running import finish, start  # Makes the workloads importable, too.

import blur
import encryption
import file_write
import monte_carlo
import tasks

try:
    import sqlite3

    import database
except ImportError:
    database = None


class ChaCha20(unittest.TestCase):
    """The examples of RFC 8439."""

    def test_quarter_round(self):  # 2.1.1
        state = [0x11111111, 0x01020304, 0x9B8D6F43, 0x01234567]
        encryption.quarter_round(state, 0, 1, 2, 3)
        self.assertEqual(state, [0xEA2A92F4, 0xCB1CF8CE, 0x4581472E, 0x5881C4BB])

    def test_block(self):  # 2.3.2
        block = encryption.chacha20_block(bytes(range(32)), 1, bytes.fromhex("000000090000004a00000000"))
        self.assertEqual(
            block.hex(),
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
            "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
        )

    def test_encryption(self):  # 2.4.2
        text = encryption.MESSAGE
        encrypted = encryption.chacha20(bytes(range(32)), 1, bytes.fromhex("000000000000004a00000000"), text)
        self.assertEqual(len(text), 114)
        self.assertEqual(encrypted, encryption.CIPHERTEXT)
        self.assertEqual(encryption.chacha20(encryption.KEY, 1, encryption.NONCE, encrypted), text)


class Pbkdf2(unittest.TestCase):
    def test_key_is_what_the_definition_gives(self):
        block = last = hmac.new(encryption.PASSWORD, encryption.SALT + b"\0\0\0\1", hashlib.sha256).digest()
        for _ in range(encryption.ROUNDS - 1):
            last = hmac.new(encryption.PASSWORD, last, hashlib.sha256).digest()
            block = bytes(a ^ b for a, b in zip(block, last))
        self.assertEqual(block.hex(), encryption.DERIVED_KEY)

    def test_example_of_rfc_7914(self):  # Section 11; the first of its two blocks.
        key = hashlib.pbkdf2_hmac("sha256", b"passwd", b"salt", 1, 32)
        self.assertEqual(key.hex(), "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")


class Blur(unittest.TestCase):
    def by_definition(self, picture, width, height, radius):
        def mean_around(x, y):
            square = [
                picture[row * width + column]
                for row in range(max(0, y - radius), min(height, y + radius + 1))
                for column in range(max(0, x - radius), min(width, x + radius + 1))
            ]
            return sum(square) // len(square)

        return bytes(mean_around(x, y) for y in range(height) for x in range(width))

    def test_is_the_mean_of_the_square_around_each_pixel(self):
        chance = random.Random(0)
        for _ in range(30):
            width, height, radius = chance.randint(1, 12), chance.randint(1, 12), chance.randint(0, 14)
            picture = bytes(chance.randrange(256) for _ in range(width * height))
            with self.subTest(width=width, height=height, radius=radius):
                self.assertEqual(
                    blur.blur(picture, width, height, radius), self.by_definition(picture, width, height, radius)
                )

    def test_sample_is_blurred_as_the_definition_says(self):
        size = blur.WIDTH, blur.HEIGHT
        picture = blur.sample_picture(*size)
        self.assertGreater(len(set(picture)), 100)
        expected = self.by_definition(picture, *size, blur.RADIUS)
        self.assertEqual(binascii.crc32(expected), blur.BLURRED_CRC32)


class MonteCarlo(unittest.TestCase):
    def test_all_hits_together_give_pi(self):
        points = len(monte_carlo.HITS) * monte_carlo.POINTS
        self.assertAlmostEqual(4 * sum(monte_carlo.HITS) / points, 3.1416, delta=0.03)

    def test_a_worker_goes_through_all_seeds(self):
        unit = monte_carlo.make({"index": 5})
        with mock.patch.object(monte_carlo, "count_hits", side_effect=monte_carlo.HITS[5:] + monte_carlo.HITS[:6]):
            for _ in range(len(monte_carlo.HITS) + 1):
                unit()


class WrongResult(unittest.TestCase):
    """A unit whose result is wrong fails, and the cell with it."""

    def assert_noticed(self, unit):
        with self.assertRaises(RuntimeError):
            unit()

    def test_of_computing_is_noticed(self):
        for task, what, other in (
            ("cipher", "encryption.KEY", bytes(32)),
            ("pbkdf2", "encryption.ROUNDS", 9999),
            ("blur", "blur.RADIUS", 3),
            ("monte-carlo", "monte_carlo.POINTS", 4000),
        ):
            job = {"task": task, "index": 0, "options": {}}
            with self.subTest(task):
                tasks.unit_for(job)()
                with mock.patch(what, other):
                    self.assert_noticed(tasks.unit_for(job))

    @unittest.skipIf(database is None, "this interpreter was built without sqlite3")
    def test_of_a_query_is_noticed(self):
        with database.prepare({}) as options:
            unit = database.make({"index": 0, "options": options})
            unit()
            with contextlib.closing(sqlite3.connect(options["path"])) as other, other:
                other.execute("INSERT INTO orders VALUES (0, 5000)")
            self.assert_noticed(unit)

    def test_of_writing_is_noticed(self):
        with file_write.prepare({}) as options:
            unit = file_write.make({"index": 0, "options": options})
            unit()
            with mock.patch("os.fsync", lambda fd: os.ftruncate(fd, 100)):
                self.assert_noticed(unit)

    def test_of_a_server_fails_the_cell(self):
        with http.server.HTTPServer(("127.0.0.1", 0), Indifferent) as server:
            server.handle_error = lambda *_: None  # A client that hangs up, as its other worker has failed.
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                url = "http://127.0.0.1:%d/" % server.server_port
                wanted = ["upload-threads", "upload-asyncio", "scrape-threads", "scrape-asyncio"]
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    results = list(pool.map(lambda cell: finish(start(cell, "--work", "2", "--url", url)), wanted))
            finally:
                server.shutdown()
                thread.join()
        for cell, (code, out, err) in zip(wanted, results):
            with self.subTest(cell):
                if '"skipped"' in out:
                    self.skipTest(out)
                self.assertEqual((code, out), (1, ""))
                self.assertNotIn("Traceback", err)
                self.assertIn("%s failed: %s" % (cell, url), err)


class Indifferent(http.server.BaseHTTPRequestHandler):
    """Answers everything with the same."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'<a href="/item/0">one</a>')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


class Directory(unittest.TestCase):
    """Files are put where they are wanted, and removed."""

    def test_is_left_as_it_was(self):
        for cell in ("file-read-threads", "file-write-processes-fork", "database-threads"):
            with self.subTest(cell), tempfile.TemporaryDirectory() as directory:
                process = start(cell, "--seconds", "0.5", "--workers", "2", "--directory", directory)
                seen = []
                while process.poll() is None:
                    seen += os.listdir(directory)
                code, out, err = finish(process)
                self.assertEqual(code, 0, err)
                if '"skipped"' not in out:
                    self.assertTrue(seen)
                self.assertEqual(os.listdir(directory), [])

    def test_that_is_not_there_fails_with_a_sentence(self):
        for cell in ("file-write-serial", "database-serial"):
            with self.subTest(cell):
                code, out, err = finish(start(cell, "--work", "1", "--directory", "/no/such/directory"))
                if '"skipped"' in out:
                    self.skipTest(out)
                self.assertEqual((code, out), (1, ""))
                self.assertNotIn("Traceback", err)


if __name__ == "__main__":
    unittest.main()
