#!/usr/bin/env python3
"""Measures the constants of `trueup plan` and prints them as src/plan/constants.toml has them.

Needs Linux, Python 3, `pip install duckdb`, and the right to make a network namespace (root) for what
goes between processes. The machine should do nothing else: bytes do not mind, processor time does.

    cargo build --release
    python3 benches/capacity/measure.py --trueup target/release/trueup --dir /tmp/capacity \\
        --machine "2 cores x86-64, 24 GiB" > src/plan/constants.toml
    TRUEUP_REWRITE=1 cargo test --test capacity

Everything per record is a slope between two sizes of one workload, so that what a run costs once is
not in it. `--before` is put before each run that is timed, as in --before "taskset -c 0,1".
"""

import argparse
import collections
import datetime
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import duckdb

# The first byte of every key of the state, as dataflow/src/store.rs numbers them.
TRANSACTIONS, BALANCES, DAYS, NAMES, ACCOUNTS = 1, 2, 3, 4, 8
# What grows with transactions beside themselves: references, sent totals, lasting imbalances.
WITH_TRANSACTIONS = {TRANSACTIONS, 9, 13, 14, 15, 16, 17, 19}
WITH_BALANCES = {BALANCES, NAMES, ACCOUNTS}

# One checkpoint, at the end, and epochs cut by records alone: the same bytes on every machine.
STEADY = ["--workers", "2", "--commit-interval", "1h", "--checkpoint-interval", "1h"]
WORKLOADS = {
    # Live posts are effective today, on more accounts than one epoch touches twice.
    "ledger": ["--workload", "ledger", "--accounts", "1000000", "--days", "1"],
    "hostile": [],
}


class Bench:
    def __init__(self, args):
        self.args = args
        self.dir = os.path.abspath(args.dir)
        self.trueup = os.path.abspath(args.trueup)
        self.before = shlex.split(args.before)
        os.makedirs(self.dir, exist_ok=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def generate(self, name, events, *more):
        path = self.path(f"{name}.jsonl")
        if not os.path.exists(path):
            call = [self.trueup, "generate", "--events", str(events), "--seed", "7", *more]
            subprocess.run([*call, "--out", path], check=True, stderr=subprocess.DEVNULL)
        return path

    def run(self, name, source, *more, again=False):
        """Runs to the end; returns what the run, the system and the log say of it."""
        store = self.path(f"store-{name}")
        if not again:
            shutil.rmtree(store, ignore_errors=True)
        usage = self.path("usage")
        timed = ["/usr/bin/time", "-f", "%U %S %e", "-o", usage]
        call = [self.trueup, "run", "--store", store, "--input", source, "--until-caught-up"]
        call += ["--json", "-vv", *more]
        done = subprocess.run([*self.before, *timed, *call], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{name}: {done.stderr[-2000:]}")
        summary = json.loads(done.stdout)
        user, system, wall = map(float, open(usage).read().split())
        log = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)
        checkpoints = re.findall(
            r"a checkpoint is on disk.*?changes=(\d+) bytes=(\d+) milliseconds=(\d+)", log)
        self.say(f"{name}: {user + system:.1f} cpu-s, {wall:.1f} s, "
                 f"peak {summary['peak_resident_bytes'] / 1e6:.0f} MB")
        return {
            "store": store, "records": summary["counts"]["read"], "cpu": user + system,
            "wall": wall, "peak": summary["peak_resident_bytes"],
            "checkpoints": [tuple(map(int, found)) for found in checkpoints],
        }

    def published(self, run):
        """What the commits of a store name."""
        total = collections.Counter()
        for path in glob.glob(run["store"] + "/commits/*.json"):
            text = open(path, "rb").read()
            commit = json.loads(text)
            total["commits"] += 1
            total["commit_bytes"] += len(text)
            for file in commit["files"]:
                total["files"] += 1
                total["rows"] += file["rows"]
                total["bytes"] += file["bytes"]
                if file["view"] == "postings":
                    total["lines"] += file["rows"]
        return total

    def state(self, run):
        """Keys and bytes by space in the copy of a run that took one, at its end, and its size."""
        manifests = [json.load(open(path)) for path in glob.glob(run["store"] + "/checkpoints/*.json")]
        whole = max((m for m in manifests if m["base"] is None), key=lambda m: m["epoch"])
        parts = [part for group in whole["groups"] for part in group["parts"]]
        files = [f"{run['store']}/{part['path']}" for part in parts]
        rows = duckdb.sql(
            "SELECT ('0x' || hex(key)[1:2])::INT, count(*), sum(octet_length(key) "
            f"+ octet_length(value)) FROM read_parquet({files}) GROUP BY 1").fetchall()
        spaces = {space: (keys, int(size)) for space, keys, size in rows}
        return spaces, sum(part["bytes"] for part in parts)


def disk_bytes(path):
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512
               for folder, _, names in os.walk(path) for name in names)


def of(spaces, which, place):
    return sum(found[place] for space, found in spaces.items() if space in which)


def slope(small, large, value):
    """How much more of a value a million records more are."""
    more = large["records"] - small["records"]
    return max(0, round((value(large) - value(small)) * 1_000_000 / more))


def measure(bench, name):
    sizes = bench.args.sizes
    inputs = [bench.generate(f"{name}-{size}", size, *WORKLOADS[name]) for size in sizes]
    epoch = ["--commit-max-records", "25000", "--memory-limit", "8GiB"]
    runs = [bench.run(f"{name}-{size}", source, *STEADY, *epoch)
            for size, source in zip(sizes, inputs)]
    for run in runs:
        run["published"] = bench.published(run)
        run["spaces"], run["copy"] = bench.state(run)
        run["disk"] = disk_bytes(run["store"] + "/state")
        run["logical"] = of(run["spaces"], run["spaces"], 1)
    small, large = runs
    found = {}
    per_million = lambda value: slope(small, large, value)
    found["transactions_per_million_records"] = per_million(
        lambda run: run["spaces"][TRANSACTIONS][0])
    found["posting_rows_per_million_records"] = per_million(lambda run: run["published"]["lines"])
    # The same records in other epochs: what a file costs before its first row.
    short = bench.run(f"{name}-short", inputs[0], *STEADY, "--memory-limit", "8GiB",
                      "--commit-max-records", "2500")
    published, cut = bench.published(short), small["published"]
    found["delta_bytes_per_file"] = max(0, round(
        (published["bytes"] - cut["bytes"]) / (published["files"] - cut["files"])))
    found["delta_bytes_per_million_records"] = per_million(
        lambda run: run["published"]["bytes"]
        - run["published"]["files"] * found["delta_bytes_per_file"])
    found["files_per_worker_and_commit"] = -(-large["published"]["files"]
                                             // (2 * large["published"]["commits"]))
    found["commit_bytes_per_file"] = -(-large["published"]["commit_bytes"]
                                       // large["published"]["files"])
    spaces = large["spaces"]
    balances = max(1, spaces[BALANCES][0])
    found["state_bytes_per_transaction"] = round(
        of(spaces, WITH_TRANSACTIONS, 1) / spaces[TRANSACTIONS][0])
    found["state_bytes_per_account"] = round(of(spaces, WITH_BALANCES, 1) / balances)
    found["state_bytes_per_account_and_day"] = round(spaces[DAYS][1] / spaces[DAYS][0])
    found["disk_percent_of_state"] = round(100 * large["disk"] / large["logical"])
    found["copy_percent_of_state"] = round(100 * large["copy"] / large["logical"])
    # As a run is by default: a checkpoint every 15 s, 2 GiB.
    usual = [bench.run(f"{name}-usual-{size}", source, "--workers", "2")
             for size, source in zip(sizes, inputs)]
    found["cpu_ms_per_million_records"] = slope(*usual, lambda run: run["cpu"] * 1000)
    # A small limit fills up: what a quarter of it holds when that calls for a checkpoint, and what it
    # costs that most of the state is on disk.
    tight = [bench.run(f"{name}-tight-{size}", source, "--workers", "2", "--memory-limit", "256MiB",
                       "--checkpoint-interval", "1h")
             for size, source in zip(sizes, inputs)]
    found["cpu_ms_per_million_records_from_disk"] = slope(*tight, lambda run: run["cpu"] * 1000)
    found["gathered_percent_of_changes"] = round(
        100 * (64 << 20) / tight[1]["checkpoints"][0][1])
    found["peak_memory_mib_beside_limit"] = max(0, (tight[1]["peak"] >> 20) - 256)
    biggest = max(large["checkpoints"] + usual[1]["checkpoints"], key=lambda row: row[1])
    found["checkpoint_bytes_per_second"] = round(biggest[1] * 1000 / biggest[2])
    return found


def wire(bench, name):
    """What two processes send each other, in a network of their own, all partitions on one side."""
    log = bench.path(f"{name}-log")
    sizes = [size // 2 for size in bench.args.sizes]
    sent = []
    for size in sizes:
        shutil.rmtree(log, ignore_errors=True)
        subprocess.run([bench.trueup, "generate", "--events", str(size), "--seed", "7", "--into", log,
                        "--partitions", "2", *WORKLOADS[name]], check=True,
                       stderr=subprocess.DEVNULL)
        store = bench.path("store-wire")
        shutil.rmtree(store, ignore_errors=True)
        config = bench.path("wire.toml")
        with open(config, "w") as file:
            file.write(f'store = "{store}"\nworkers = 1\n[state]\ndirectory = "{store}-state"\n'
                       f'[[source]]\nname = "live"\ntype = "local_log"\npath = "{log}"\n'
                       '[cluster]\nid = "wire"\nhosts = ["127.0.0.1:7711", "127.0.0.1:7712"]\n')
        shutil.rmtree(f"{store}-state", ignore_errors=True)
        run = f"{bench.trueup} run -c {config} --until-caught-up"
        script = (f"ip link set lo up; {run} --process 1 & {run} --process 0 && wait $! && "
                  "cat /proc/net/dev")
        done = subprocess.run([*bench.before, "unshare", "-n", "sh", "-c", script],
                              capture_output=True, text=True)
        line = re.search(r"lo:\s*(\d+)", done.stdout)
        if done.returncode != 0 or line is None:
            sys.exit(f"wire: {done.stderr[-2000:]}")
        sent.append(int(line[1]))
    # With two processes half of what is exchanged stays where it is.
    return round(2 * (sent[1] - sent[0]) / (sizes[1] - sizes[0]))


def corrections(bench):
    """What corrections of any earlier transaction cost, each by itself."""
    size, part = bench.args.sizes[0], bench.args.sizes[0] // 5
    first = bench.path(f"ledger-{size}.jsonl")
    runs = []
    for count in (part, 2 * part):
        more = bench.generate(f"corrections-{count}", count, *WORKLOADS["ledger"],
                              "--corrections-of", str(size))
        # These are short, and differ by half of what they take.
        tried = [corrected(bench, f"corrections-{count}", first, more) for _ in range(3)]
        runs.append(sorted(tried, key=lambda run: run["cpu"])[1])
    return {
        "cpu_ms_per_million_corrections": slope(*runs, lambda run: run["cpu"] * 1000),
        "delta_bytes_per_million_corrections": slope(
            *runs, lambda run: run["published"]["bytes"]),
    }


def corrected(bench, name, first, more):
    """The run that reads corrections, after one that has read what they correct."""
    folder = bench.path("corrections")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.link(first, folder + "/1.jsonl")
    cut = [*STEADY, "--memory-limit", "8GiB", "--commit-max-records", "25000"]
    before = bench.published(bench.run(name, folder, *cut))
    os.link(more, folder + "/2.jsonl")
    run = bench.run(name, folder, *cut, again=True)
    run["published"] = bench.published(run)
    run["published"].subtract(before)
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trueup", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--machine", required=True)
    parser.add_argument("--before", default="")
    parser.add_argument("--sizes", type=int, nargs=2, default=[1_000_000, 2_000_000])
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    bench = Bench(parser.parse_args())
    print("# Measured by benches/capacity/measure.py; what each is, and how, says docs/capacity.md.")
    print(f'measured = "{datetime.date.today()}"\nmachine = "{bench.args.machine}"')
    print(f"sizes = {bench.args.sizes}")
    for name in bench.args.workload or WORKLOADS:
        found = measure(bench, name)
        found["wire_bytes_per_record"] = wire(bench, name)
        if name == "ledger":
            extra = corrections(bench)
        found |= extra
        print(f"\n[{name}]")
        for key, value in sorted(found.items()):
            print(f"{key} = {value}", flush=True)


if __name__ == "__main__":
    main()
