"""Pathway: keeps the balances of a file of events, in memory.

usage: job.py INPUT RESULT    (threads by PATHWAY_THREADS)

Everything on the way is an expression of Pathway's own, which its engine computes; a function of
Python would run under Python's lock. Its integers have 64 bits, so whole units and the fraction in
units of 10^-9 are summed apart and put together at the end: exact up to 9 * 10^18 whole units and 9
billion lines.
"""

import csv
import json
import sys
import time

import pathway as pw

SCALE = 9


class Event(pw.Schema):
    tenant: str
    transaction_id: str
    leg: str = pw.column_definition(default_value="")
    revision: int = pw.column_definition(default_value=1)
    postings: pw.Json


def balances(events: pw.Table) -> pw.Table:
    highest = events.groupby(events.tenant, events.transaction_id, events.leg).reduce(
        events.tenant, event=pw.reducers.argmax(events.revision)
    )
    current = highest.select(highest.tenant, postings=events.ix(highest.event).postings)
    line = current.flatten(pw.this.postings)
    text = pw.unwrap(line.postings["amount"].as_str())
    point = text.str.find(".")
    has_point = point >= 0
    whole = pw.if_else(has_point, text.str.slice(0, point), text)
    fraction = pw.if_else(has_point, text.str.slice(point + 1, text.str.len()), "") + "0" * SCALE
    sign = pw.if_else(pw.unwrap(line.postings["side"].as_str()) == "debit", 1, -1)
    line = line.select(
        line.tenant,
        account=pw.unwrap(line.postings["account"].as_str()),
        currency=pw.unwrap(line.postings["currency"].as_str()),
        whole=sign * whole.str.parse_int(),
        nanos=sign * fraction.str.slice(0, SCALE).str.parse_int(),
    )
    return line.groupby(line.tenant, line.account, line.currency).reduce(
        line.tenant,
        line.account,
        line.currency,
        whole=pw.reducers.sum(line.whole),
        nanos=pw.reducers.sum(line.nanos),
        lines=pw.reducers.count(),
    )


def decimal(units: int) -> str:
    whole, fraction = divmod(abs(units), 10**SCALE)
    return f"{'-' if units < 0 else ''}{whole}.{fraction:0{SCALE}d}"


def main() -> None:
    started_at_ns = time.time_ns()
    source, result = sys.argv[1:]
    current: dict[tuple[str, str, str], tuple[int, int]] = {}

    def on_change(key, row, time, is_addition):
        account = (row["tenant"], row["account"], row["currency"])
        balance = (row["whole"] * 10**SCALE + row["nanos"], row["lines"])
        if is_addition:
            current[account] = balance
        elif current.get(account) == balance:
            del current[account]

    events = pw.io.jsonlines.read(source, schema=Event, mode="static")
    pw.io.subscribe(balances(events), on_change=on_change)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    completed_at_ns = time.time_ns()
    with open(result, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(("tenant", "account", "currency", "balance", "lines"))
        for account, (units, lines) in current.items():
            out.writerow((*account, decimal(units), lines))
    print(json.dumps({"started_at_ns": started_at_ns, "completed_at_ns": completed_at_ns}))


main()
