"""Runs the cells about one claim each and holds what they say against what must be so.

What depends on luck or on the machine's speed is not asked for; what follows from how threads and
processes are made is.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import time
import unittest

from running import finish, is_alive, report_of, start  # Makes the workloads importable, too.

import claim_cells
import measure
import messages


def details_of(test, *arguments):
    return report_of(test, *arguments)["details"]


class EveryCell(unittest.TestCase):
    """What holds for all of them."""

    def test_is_run_by_a_test_of_its_own(self):
        with open(os.path.abspath(__file__).replace(".pyc", ".py")) as source:
            text = source.read()
        for task in claim_cells.TOPICS:
            self.assertIn('"%s-' % task, text)

    def test_is_in_the_list_with_a_twin_that_is_there(self):
        code, out, err = finish(start("--list"))
        self.assertEqual(code, 0, err)
        rows = {row["id"]: row for row in json.loads(out)}
        for cell in claim_cells.all_cells():
            row = rows[cell.id]
            self.assertEqual(row["kind"], "claim")
            self.assertIn(row["serial_twin"], rows)
            self.assertIsNotNone(row["unit"])
            self.assertGreaterEqual(row["workers"], 1)

    def test_refuses_what_it_would_not_heed(self):
        for arguments in (
            ["ipc-pipe", "--work", "3"],
            ["ipc-pipe", "--workers", "3"],
            ["ipc-pipe", "--bytes", "67108865"],
            ["crash-threads", "--seconds", "1"],
            ["oversubscribed-processes-2x", "--messages", "3"],
            ["arithmetic-serial", "--messages", "3"],
        ):
            with self.subTest(arguments):
                code, out, err = finish(start(*arguments))
                self.assertEqual((code, out), (2, ""))
                self.assertNotIn("Traceback", err)

    def test_accepts_the_number_of_workers_that_it_has(self):
        report = report_of(self, "ping-pong-threads", "--workers", "2", "--messages", "3")
        self.assertEqual((report["workers"], report["work"]), (2, 3))


class Startup(unittest.TestCase):
    """What a worker costs."""

    def test_processes_cost_more_than_threads(self):
        threads = report_of(self, "startup-threads", "--workers", "3")
        for model in ("fork", "spawn", "forkserver"):
            with self.subTest(model):
                processes = report_of(self, "startup-processes-" + model, "--workers", "3")
                self.assertEqual(len(processes["details"]["start_seconds_by_worker"]), 3)
                self.assertGreater(processes["start_seconds"], threads["start_seconds"])
                self.assertGreater(
                    processes["details"]["pss_bytes_per_worker"],
                    5 * max(1, threads["details"]["pss_bytes_per_worker"]),
                )

    def test_subinterpreters_are_measured_where_there_are_any(self):
        details = details_of(self, "startup-subinterpreters", "--workers", "2")
        self.assertGreater(min(details["start_seconds_by_worker"]), 0)
        self.assertGreater(details["pss_bytes_per_worker"], 100000)


class SharedState(unittest.TestCase):
    """Who sees what others write."""

    def test_threads_share_memory_and_processes_do_not(self):
        threads = details_of(self, "shared-memory-threads", "--workers", "3")
        self.assertEqual((threads["written"], threads["seen_by_writers"]), (3, 3))
        self.assertIs(threads["seen_by_parent"], True)
        processes = details_of(self, "shared-memory-processes", "--workers", "3")
        self.assertEqual((processes["written"], processes["seen_by_writers"]), (3, 3))
        self.assertEqual(processes["seen_by_parent_count"], 0)
        self.assertIs(processes["seen_by_parent"], False)

    def test_updates_are_lost_where_they_are_shared_without_a_lock(self):
        # One switch in the wrong place is enough, and there are hundreds of switches.
        for model, workers in (("threads", "3"), ("processes-value", "3")):
            with self.subTest(model):
                arguments = ["--seconds", "0.5", "--workers", workers, "--switch-interval", "0.001"]
                details = details_of(self, "lost-updates-" + model, *arguments)
                self.assertEqual(details["lost"], details["expected"] - details["counted"])
                self.assertGreater(details["lost"], 0)

    def test_no_update_is_lost_under_a_lock(self):
        for model in ("threads-locked", "processes-locked"):
            with self.subTest(model):
                arguments = ["--seconds", "0.5", "--workers", "3", "--switch-interval", "0.001"]
                report = report_of(self, "lost-updates-" + model, *arguments)
                self.assertEqual(report["details"]["expected"], 1000 * report["work"])
                self.assertEqual(report["details"]["counted"], 1000 * report["work"])
                self.assertEqual(report["details"]["lost"], 0)

    @unittest.skipIf(measure.gil_enabled() is False, "without a GIL it is a race like any other")
    @unittest.skipIf(sys.version_info < (3, 10), "before 3.10 threads are switched between any two instructions")
    def test_plain_addition_has_no_place_for_a_switch(self):
        details = details_of(self, "lost-updates-threads-plain", "--seconds", "0.3", "--workers", "3")
        self.assertEqual(details["lost"], 0)

    def test_updates_of_own_copies_are_all_there_but_do_not_arrive(self):
        details = details_of(self, "lost-updates-processes", "--work", "30", "--workers", "3")
        self.assertEqual((details["expected"], details["counted"]), (30000, 0))
        self.assertEqual(details["counted_in_own_copies"], 30000)


class Faults(unittest.TestCase):
    """Who is left when one fails."""

    def outcome_of(self, cell):
        details = details_of(self, cell)
        self.assertEqual(details["workers"], 4)
        return details["survivors"], details["exit"]["code"], details["exit"]["signal"]

    def test_a_crash_takes_threads_down_and_leaves_processes(self):
        self.assertEqual(self.outcome_of("crash-threads"), (0, None, 11))
        self.assertEqual(self.outcome_of("crash-processes"), (3, 0, None))

    def test_a_pool_gives_up_when_a_process_crashes(self):
        details = details_of(self, "crash-process-pool")
        self.assertEqual((details["survivors"], details["exit"]["code"]), (0, 1))
        self.assertIn("BrokenProcessPool", details["said"])

    def test_an_exception_leaves_the_others_alone(self):
        self.assertEqual(self.outcome_of("exception-threads"), (3, 0, None))
        self.assertEqual(self.outcome_of("exception-processes"), (3, 0, None))


class Messages(unittest.TestCase):
    """Every message arrives, whatever its size."""

    WAYS = ["queue-threads", "ipc-queue", "ipc-pipe", "ipc-shared-memory"]

    def test_all_messages_arrive(self):
        for cell in self.WAYS:
            for size in ("1", "100000"):
                with self.subTest(cell=cell, size=size):
                    report = report_of(self, cell, "--messages", "211", "--bytes", size)
                    details = report["details"]
                    self.assertEqual((report["work"], report["workers"]), (211, 2))
                    self.assertEqual((details["messages"], details["bytes_per_message"]), (211, int(size)))
                    self.assertAlmostEqual(
                        details["bytes_per_second"], 211 * int(size) / details["seconds"], delta=1
                    )

    def test_all_round_trips_are_made(self):
        for cell in ("ping-pong-threads", "ping-pong-pipe"):
            with self.subTest(cell):
                report = report_of(self, cell, "--messages", "97", "--bytes", "10")
                self.assertEqual((report["work"], report["details"]["round_trips"]), (97, 97))

    @unittest.skipIf(sys.version_info < (3, 8), "shared memory came with Python 3.8")
    def test_a_ring_keeps_messages_apart_and_in_order(self):
        ring = messages.Ring(multiprocessing.get_context("fork"), 3, 4)
        try:
            came, texts = [], [b"%04d" % number for number in range(20)]
            for first, second in zip(texts[0::2], texts[1::2]):
                ring.send(first)
                ring.send(second)
                came += [ring.receive(), ring.receive()]
            self.assertEqual(came, texts)
        finally:
            ring.remove()

    def test_messages_are_bounded_in_memory(self):
        # 400 MB go through, and no more than some ten are ever there.
        report = report_of(self, "queue-threads", "--messages", "100", "--bytes", "4000000")
        self.assertLess(report["pss_bytes"], 60000000)


class Oversubscribed(unittest.TestCase):
    """More workers than CPUs."""

    def test_the_same_work_is_split_among_more_workers(self):
        for times in (1, 2, 4):
            with self.subTest(times):
                report = report_of(self, "oversubscribed-processes-%dx" % times, "--work", "41")
                details = report["details"]
                self.assertEqual((report["work"], details["workers_per_cpu"]), (41, times))
                self.assertEqual(report["workers"], times * details["cpus"])
                self.assertAlmostEqual(details["units_per_second"], 41 / report["work_seconds"], delta=1)


def shared_memory_of(pid):
    """Files of named shared memory that a process has mapped."""
    try:
        with open("/proc/%d/maps" % pid) as maps:
            return {line.split(None, 5)[5].strip() for line in maps if "/dev/shm/psm_" in line}
    except OSError:
        return set()


class Killed(unittest.TestCase):
    """A cell that is killed leaves nothing behind."""

    CELLS = [
        (["crash-processes"], 6),
        (["ipc-pipe", "--messages", "10000000"], 2),
        (["ipc-queue", "--messages", "10000000"], 2),
        (["ipc-shared-memory", "--messages", "10000000"], 3),
        (["ping-pong-pipe", "--messages", "10000000"], 2),
        (["lost-updates-processes-value", "--seconds", "1", "--workers", "2"], 3),
        (["oversubscribed-processes-1x", "--seconds", "1"], 2),
    ]

    def test_leaves_no_process(self):
        for arguments, size in self.CELLS:
            with self.subTest(arguments):
                self.assert_nothing_left(arguments, size)

    def assert_nothing_left(self, arguments, size):
        cell = start(*arguments)
        tree, deadline = [], time.monotonic() + 20
        while len(tree) < size and cell.poll() is None and time.monotonic() < deadline:
            tree = measure.process_tree(cell.pid)
        if cell.poll() is None:
            self.assertGreaterEqual(len(tree), size)
        shared = shared_memory_of(cell.pid)
        cell.kill()
        _, out, _ = finish(cell)
        if '"skipped"' in out:
            return
        while any(map(is_alive, tree)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual([pid for pid in tree if is_alive(pid)], [])
        while any(map(os.path.exists, shared)) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual([path for path in shared if os.path.exists(path)], [])

    def test_the_other_side_s_death_ends_the_cell_with_a_sentence(self):
        cell = start("ipc-pipe", "--messages", "10000000")
        tree, deadline = [], time.monotonic() + 20
        while len(tree) < 2 and time.monotonic() < deadline:
            tree = measure.process_tree(cell.pid)
        time.sleep(0.3)
        subprocess.check_call(["kill", "-KILL", str(tree[1])])
        code, out, err = finish(cell)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("ipc-pipe failed: the other process ended", err)


if __name__ == "__main__":
    unittest.main()
