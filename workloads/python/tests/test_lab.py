"""Runs the lab's cells with this interpreter and holds what they report against what was asked for.

    cd workloads/python && python3 -m unittest discover -s tests
"""

import concurrent.futures
import json
import os
import sys
import time
import unittest

from running import finish, is_alive, report_of, start  # Makes the workloads importable, too.

import cells
import directories
import jobs
import measure
from tasks import CLAIM_TASKS, TASKS


class EveryCell(unittest.TestCase):
    """All cells, with little work each."""

    WORK = 7

    def test_does_exactly_the_work_asked_for(self):
        def run(cell):
            return finish(start(cell.id, "--work", str(self.WORK), "--workers", "2", "--pause", "0.005"))

        table = [cell for cell in cells.all_cells() if cell.kind not in ("latency", "claim")]
        with concurrent.futures.ThreadPoolExecutor(cells.usable_cpus()) as pool:
            results = list(pool.map(run, table))
        for cell, (code, out, err) in zip(table, results):
            with self.subTest(cell.id):
                self.assertEqual((code, out.count("\n")), (0, 1), err)
                report = json.loads(out)
                self.assertEqual(report["schema"], "schedscope.workload/1")
                self.assertEqual(report["cell"], cell.id)
                if cells.why_skipped(cell):
                    self.assertEqual(report["skipped"], cells.why_skipped(cell))
                    continue
                self.assertEqual(report["work"], self.WORK)
                self.assertEqual(report["workers"], 1 if cell.model == "serial" else 2)
                self.assertGreater(report["pss_bytes"], 1000000)
                self.assertGreaterEqual(report["wall_seconds"], report["work_seconds"])
                self.assertGreaterEqual(report["start_seconds"], 0)

    def test_has_a_serial_twin_in_the_list(self):
        code, out, err = finish(start("--list"))
        self.assertEqual(code, 0, err)
        rows = json.loads(out)
        ids = {row["id"] for row in rows}
        self.assertEqual(len(ids), len(rows))
        self.assertLessEqual({row["serial_twin"] for row in rows}, ids)


class Waiting(unittest.TestCase):
    """Waiting overlaps on every model but the serial one."""

    def test_overlaps(self):
        arguments = ["--work", "6", "--workers", "6", "--pause", "0.1"]
        serial = report_of(self, "download-serial", *arguments)
        self.assertGreaterEqual(serial["work_seconds"], 0.6)
        for model in ("threads", "processes-fork", "asyncio", "hybrid"):
            with self.subTest(model):
                report = report_of(self, "download-" + model, *arguments)
                self.assertLess(report["work_seconds"], 0.4)

    def test_fixed_time_ends_in_time(self):
        for model in ("threads", "processes-spawn", "asyncio"):
            with self.subTest(model):
                report = report_of(self, "arithmetic-" + model, "--seconds", "0.1", "--workers", "2")
                self.assertGreaterEqual(report["work_seconds"], 0.1)
                self.assertLess(report["work_seconds"], 2)
                self.assertGreater(min(report["work_by_worker"]), 0)


class Threads(unittest.TestCase):
    """What the kernel sees of them."""

    def allowed_cpus(self, pin):
        """Name -> CPUs that it may use, of each worker thread of a running cell."""
        process = start("arithmetic-threads", "--workers", "2", "--seconds", "0.5", "--pin", pin)
        seen = {}
        while process.poll() is None:
            for name, cpus in threads_of(process.pid):
                if name.startswith("arith-"):
                    seen[name] = cpus
            time.sleep(0.02)
        finish(process)
        self.assertEqual(set(seen), {"arith-0", "arith-1"})
        return list(seen.values())

    def test_carry_their_names_and_stay_where_they_were_put(self):
        usable = sorted(os.sched_getaffinity(0))
        self.assertEqual(self.allowed_cpus("one"), [{usable[0]}] * 2)
        self.assertEqual(set().union(*self.allowed_cpus("spread")), set(usable[:2]))


    def test_of_a_process_keep_the_names_of_their_programs_on_request(self):
        arguments = ["arithmetic-processes-spawn", "--workers", "2", "--seconds", "0.5", "--keep-process-names"]
        process = start(*arguments)
        names = set()
        while process.poll() is None:
            names.update(name for pid in children_of(process.pid) for name, _ in threads_of(pid))
            time.sleep(0.02)
        finish(process)
        self.assertTrue(names)
        self.assertFalse([name for name in names if name.startswith("arith")], names)


def children_of(pid):
    """Ids of the processes that the first thread of a process has started."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as children:
            return [int(child) for child in children.read().split()]
    except OSError:
        return []  # It ended meanwhile.


def threads_of(pid):
    """Name and allowed CPUs of each thread of a process."""
    found = []
    try:
        for tid in os.listdir("/proc/%d/task" % pid):
            cpus = os.sched_getaffinity(int(tid))
            with open("/proc/%d/task/%s/comm" % (pid, tid)) as comm:
                found.append((comm.read().strip(), cpus))
    except OSError:
        pass  # It ended meanwhile.
    return found


class Latency(unittest.TestCase):
    """The cells about who has to wait for whom: effects of a factor of a hundred, asked for by two."""

    def median_of(self, *arguments):
        return report_of(self, *arguments)["latency_seconds"]["p50"]

    @unittest.skipIf(measure.gil_enabled() is False, "without a GIL there is no convoy")
    def test_busy_thread_holds_the_echo_up_by_the_switch_interval(self):
        alone = self.median_of("convoy-alone", "--seconds", "0.2")
        # An echo that is back before the server sleeps finds the lock free, so now and then a run has more quick ones than slow ones.
        near = max(self.median_of("convoy-thread-near", "--seconds", "0.2") for _ in range(4))
        self.assertGreater(near, 0.8 * sys.getswitchinterval())
        self.assertGreater(near, 2 * alone)
        self.assertGreater(self.median_of("convoy-process", "--seconds", "0.2"), 0)

    def test_computing_in_the_loop_holds_the_loop_up(self):
        in_loop = self.median_of("lag-in-loop", "--work", "3")
        in_process = self.median_of("lag-process-pool", "--work", "3")
        self.assertGreater(in_loop, 2 * in_process)

    def test_amount_that_makes_no_sense_is_refused(self):
        code, _, err = finish(start("convoy-alone", "--work", "3"))
        self.assertEqual(code, 2)
        self.assertIn("takes no --work", err)


class Failures(unittest.TestCase):
    """What goes wrong ends in a sentence and a code, and leaves nothing behind."""

    def test_unknown_cell(self):
        code, out, err = finish(start("no-such-cell"))
        self.assertEqual((code, out), (2, ""))
        self.assertIn("--list", err)

    def test_nonsense_amounts(self):
        both = ["--work", "1", "--seconds", "1"]
        for arguments in (["--workers", "0"], ["--url", "ftp://x/"], ["--seconds", "nan"], both):
            with self.subTest(arguments):
                code, _, err = finish(start("hash-serial", *arguments))
                self.assertEqual(code, 2)
                self.assertNotIn("Traceback", err)

    @unittest.skipIf(sys.version_info < (3, 8), "the fetch cells need Python 3.8")
    def test_server_that_is_not_there(self):
        models = ("serial", "threads", "processes-fork", "asyncio", "hybrid")
        for cell in ["fetch-" + model for model in models] + ["upload-threads", "scrape-asyncio"]:
            with self.subTest(cell):
                # Port 1 of the loopback interface: nobody listens there.
                code, out, err = finish(start(cell, "--url", "http://127.0.0.1:1/", "--work", "2"))
                self.assertEqual((code, out), (1, ""))
                self.assertNotIn("Traceback", err)
                self.assertIn("%s failed" % cell, err)

    def test_killed_parent_leaves_no_worker(self):
        for method in ("fork", "spawn"):
            with self.subTest(method):
                parent = start("arithmetic-processes-" + method, "--seconds", "1", "--workers", "3")
                deadline = time.monotonic() + 20
                while len(measure.process_tree(parent.pid)) < 4 and time.monotonic() < deadline:
                    time.sleep(0.01)
                workers = measure.process_tree(parent.pid)[1:]
                self.assertGreaterEqual(len(workers), 3)
                parent.kill()
                finish(parent)
                while any(map(is_alive, workers)) and time.monotonic() < deadline:
                    time.sleep(0.02)
                self.assertEqual([pid for pid in workers if is_alive(pid)], [])


class Parts(unittest.TestCase):
    """The pure parts."""

    def test_shares_add_up_and_differ_by_one_at_most(self):
        for total in range(50):
            for workers in range(1, 9):
                parts = jobs.shares(total, workers)
                self.assertEqual((len(parts), sum(parts)), (workers, total))
                self.assertLessEqual(max(parts) - min(parts), 1)

    def test_thread_names_fit_the_kernel(self):
        for name, task in list(TASKS.items()) + list(CLAIM_TASKS.items()):
            self.assertLessEqual(len(task.label + "-999"), 15, name)

    def test_file_systems_are_told_apart(self):
        self.assertEqual(directories.file_system_of("/proc"), "proc")


if __name__ == "__main__":
    unittest.main()
