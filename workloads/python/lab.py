"""Run one cell of the lab: one task on one concurrency model, and print one line of JSON.

    python3 lab.py arithmetic-threads --workers 4
    python3 lab.py --list

The same total work is split among the workers, so the speed-up of a model is the wall time of
its serial twin divided by its own.  With --seconds, every worker works for that time instead and
the work done is what to compare.
"""

import argparse
import contextlib
import json
import os
import sys

# Processes that are spawned import this file again: what they do not need is imported below.


def parse(arguments):
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cell", nargs="?", help="the cell to run; --list shows them")
    parser.add_argument("--list", action="store_true", help="print all cells as JSON")
    parser.add_argument("--workers", type=whole_number, metavar="N", help="number of workers")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--work", type=whole_number, metavar="W", help="units of work, all workers together")
    amount.add_argument("--seconds", type=duration, metavar="S", help="work for this time instead")
    parser.add_argument(
        "--pause", type=duration, metavar="S",
        help="seconds that one download, sleep, request, printed number or answer of the HTTP server takes",
    )
    parser.add_argument(
        "--url", type=http_address,
        help="fetch, upload and scrape cells: a running HTTP server instead of one of our own",
    )
    parser.add_argument("--directory", help="file and database cells: where to put the files")
    parser.add_argument(
        "--factorial-of", type=whole_number, default=2000, metavar="N",
        help="factorial cells: the number (default 2000; the textbook's is 100)",
    )
    parser.add_argument(
        "--messages", type=whole_number, metavar="N", help="queue, ipc and ping-pong cells: how many messages"
    )
    parser.add_argument(
        "--bytes", type=message_size, metavar="B", help="the same cells: size of a message (default 1024)"
    )
    parser.add_argument("--pin", choices=["spread", "one"], help="one CPU for each worker, or one for all")
    parser.add_argument(
        "--keep-process-names", action="store_true",
        help="name threads only, for tools that tell programs by the names of their processes",
    )
    parser.add_argument(
        "--switch-interval", type=duration, metavar="S",
        help="how long a thread may hold the GIL while others want it (default 0.005)",
    )
    parsed = parser.parse_args(arguments)
    if parsed.cell is None and not parsed.list:
        parser.error("name a cell, or --list to see them")
    return parsed


def whole_number(text):
    """A number of things: one or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def message_size(text):
    """Bytes of a message: up to 64 MiB."""
    value = whole_number(text)
    if value > 64 << 20:
        raise argparse.ArgumentTypeError("must be 67108864 (64 MiB) or less")
    return value


def duration(text):
    """Seconds, more than none."""
    value = float(text)
    if not 0 < value < 86400:
        raise argparse.ArgumentTypeError("must be more than 0 seconds and less than a day")
    return value


def http_address(text):
    """The address of an HTTP server."""
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname:
        raise argparse.ArgumentTypeError("must look like http://127.0.0.1:8000/")
    parts.port  # Raises ValueError, which argparse reports, if it is no number.
    return text


def run_model(model, work):
    """Run the jobs on the model of that name."""
    import models

    if model == "serial":
        return models.run_serial(work)
    if model == "threads":
        return models.run_threads(work)
    if model.startswith("processes-"):
        return models.run_processes(work, model[len("processes-"):])
    if model == "subinterpreters":
        import subinterpreters

        return subinterpreters.run_subinterpreters(work)
    import event_loop

    return event_loop.run_asyncio(work) if model == "asyncio" else event_loop.run_hybrid(work)


def run_latency_cell(cell, arguments):
    """Run and sum up a cell that is about latency."""
    import measure

    if cell.task == "convoy":
        import convoy

        measured = convoy.run(cell.model, arguments.seconds or convoy.DEFAULT_SECONDS)
    else:
        import cells
        import loop_lag

        measured = loop_lag.run(cell.model, arguments.work or cells.LAG_WORK)
    return measure.latency_summary(cell, measured)


def run_cell(cell, arguments):
    """Prepare, run and sum up one cell."""
    import claim_cells
    import jobs
    import measure
    import tasks

    if arguments.switch_interval:
        sys.setswitchinterval(arguments.switch_interval)
    if cell.kind == "claim":
        return claim_cells.run(cell, arguments)
    if cell.kind == "latency":
        return run_latency_cell(cell, arguments)
    task = tasks.TASKS[cell.task]
    options = {
        "pause": arguments.pause or task.pause,
        "url": arguments.url,
        "directory": arguments.directory,
        "factorial_of": arguments.factorial_of,
        "pin": arguments.pin,
    }
    with contextlib.ExitStack() as stack:
        detail = stack.enter_context(tasks.function_at(task.prepare)(options)) if task.prepare else {}
        options.update(detail)
        workers = 1 if cell.model == "serial" else arguments.workers or cell.workers
        work = arguments.work or task.work
        outcome = run_model(cell.model, jobs.make(cell.task, workers, work, arguments.seconds, options))
    report = measure.summary(cell, *outcome)
    report["unit"] = task.unit
    report["pause_seconds"] = options["pause"]
    for key in ("file_access", "file_system"):
        if key in detail:
            report[key] = detail[key]
    return report


def refused(cell, arguments):
    """What is wrong with the amounts that were asked for, or None."""
    import claim_cells

    if cell.kind == "claim":
        return claim_cells.objection(cell, arguments)
    if arguments.messages is not None or arguments.bytes is not None:
        return "%s exchanges no messages: it takes no --messages and no --bytes" % cell.id
    if cell.task == "convoy" and arguments.work is not None:
        return "%s takes no --work: it runs for a time; use --seconds" % cell.id
    if cell.task == "lag" and arguments.seconds is not None:
        return "%s takes no --seconds: it does a number of jobs; use --work" % cell.id
    return None


def main(arguments):
    """Exit code 0: a report or a reason for skipping was printed; 1: the cell failed; 2: wrong usage."""
    parsed = parse(arguments)
    import cells
    import measure

    if parsed.keep_process_names:
        import worker

        os.environ[worker.KEEP_PROCESS_NAMES] = "1"
    if parsed.list:
        print(json.dumps([cells.as_json(cell) for cell in cells.all_cells()], indent=1))
        return 0
    cell = cells.find(parsed.cell)
    if cell is None:
        sys.stderr.write("no cell is called %r; --list shows them\n" % parsed.cell)
        return 2
    objection = refused(cell, parsed)
    if objection:
        sys.stderr.write(objection + "\n")
        return 2
    reason = cells.why_skipped(cell)
    if reason:
        print(json.dumps({"schema": measure.SCHEMA, "cell": cell.id, "skipped": reason}))
        return 0
    try:
        print(json.dumps(run_cell(cell, parsed)), flush=True)
    except (OSError, RuntimeError) as error:
        sys.stderr.write("%s failed: %s\n" % (cell.id, error))
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
