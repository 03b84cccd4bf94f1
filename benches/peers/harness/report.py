"""What was measured, as a table for people and as JSON for programs."""

import dataclasses
import os
import pathlib
import platform
import statistics

from harness import contestants


@dataclasses.dataclass
class Row:
    """One contestant on one file: its runs by round, and what kept it from being timed."""

    contestant: contestants.Contestant
    version: str
    records: int
    # A round in which it failed is absent.
    runs: dict[int, contestants.Run] = dataclasses.field(default_factory=dict)
    failure: str | None = None

    def ratios(self, trueup: "Row") -> list[float]:
        """Returns how many times as long as trueup it took, round by round, on the same file.

        Without its start-up, which a run of days does not feel; trueup's own is counted.
        """
        rounds = sorted(self.runs.keys() & trueup.runs.keys())
        return [self.runs[n].job_seconds / trueup.runs[n].seconds for n in rounds]


COLUMNS = [
    "contestant", "version", "records", "threads", "seconds (min, max)", "without start-up",
    "cpu-s/M", "peak MB", "÷ trueup (min, max)",
]


def table(rows: list[Row]) -> str:
    """Draws the aligned table, and below it the settings and what each leaves out."""
    lines = [COLUMNS, *(cells(row, rows) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    drawn = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in lines
    ]
    drawn.insert(1, "  ".join("-" * width for width in widths))
    drawn += [
        f"\n{row.contestant.name} is not timed, on {row.records:,} records: {row.failure}"
        for row in rows
        if row.failure is not None
    ]
    drawn += ["", "Settings, and what each does not do:"]
    told = set()
    for row in rows:
        contestant = row.contestant
        if contestant.name not in told:
            told.add(contestant.name)
            drawn.append(f"  {contestant.name}: {contestant.settings}. Lacks: {contestant.lacks}")
    servers = [server(row) for row in rows if row.runs and any_run(row).server_cpu_s is not None]
    return "\n".join(drawn + servers)


def cells(row: Row, rows: list[Row]) -> list[str]:
    """Returns the row's cells, or where it was not timed, why."""
    start = [row.contestant.name, row.version, f"{row.records:,}", str(contestants.THREADS)]
    if row.failure is not None or not row.runs:
        return [*start, "not timed", "", "", "", ""]
    runs = list(row.runs.values())
    seconds = [run.seconds for run in runs]
    cpu = statistics.median(run.cpu_s for run in runs) / row.records * 1e6
    ratios = row.ratios(trueup_of(row, rows)) if trueup_of(row, rows) else []
    return [
        *start,
        spread(seconds),
        f"{statistics.median(run.job_seconds for run in runs):.2f}",
        f"{cpu:.1f}",
        f"{max(run.rss_peak_bytes for run in runs) / 1e6:,.0f}",
        spread(ratios) if ratios else "-",
    ]


def spread(values: list[float]) -> str:
    """Writes a median, and in parentheses the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}, {max(values):.2f})"


def trueup_of(row: Row, rows: list[Row]) -> Row | None:
    """Returns trueup's row on the same file."""
    same = (r for r in rows if r.records == row.records)
    return next((r for r in same if r.contestant.is_reference), None)


def any_run(row: Row) -> contestants.Run:
    """Returns one of a row's runs."""
    return next(iter(row.runs.values()))


def server(row: Row) -> str:
    """Says what the server beside a contestant took."""
    cpu = statistics.median(run.server_cpu_s for run in row.runs.values())
    memory = max(run.server_rss_peak_bytes for run in row.runs.values())
    return (
        f"  {row.contestant.name}'s broker, apart: {cpu / row.records * 1e6:.1f} cpu-s/M, "
        f"peak {memory / 1e6:,.0f} MB"
    )


def to_json(rows: list[Row], machine: dict, workload: dict) -> dict:
    """Returns everything that was measured, run by run."""
    return {
        "machine": machine,
        "workload": workload,
        "contestants": [
            {
                "name": row.contestant.name,
                "version": row.version,
                "settings": row.contestant.settings,
                "lacks": row.contestant.lacks,
                "threads": contestants.THREADS,
                "records": row.records,
                "failure": row.failure,
                "rounds": [
                    {"round": number, **dataclasses.asdict(run)}
                    for number, run in sorted(row.runs.items())
                ],
            }
            for row in rows
        ],
    }


def machine() -> dict:
    """Names the machine."""
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
