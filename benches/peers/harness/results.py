"""Balances as the contestants wrote them, compared row for row.

A result is a map from (tenant, account, currency) to (balance, number of lines), both exact. What
is compared with comes from trueup's own committed files, by `trueup query`.
"""

import collections
import csv
import decimal
import pathlib
import subprocess

Key = tuple[str, str, str]
Balances = dict[Key, decimal.Decimal]
Lines = dict[Key, int]

HEADER = ["tenant", "account", "currency", "balance", "lines"]

# Python's sums and conversions of decimals are exact up to this many digits; trueup's have 38.
decimal.getcontext().prec = 80
decimal.getcontext().traps[decimal.Inexact] = True


class Differs(Exception):
    """A result is not trueup's; the message names the first rows."""


def read(file: pathlib.Path) -> tuple[Balances, Lines]:
    """Reads the CSV that a contestant wrote."""
    balances: Balances = {}
    lines: Lines = {}
    with file.open(newline="", encoding="utf-8") as text:
        rows = csv.reader(text)
        header = next(rows, None)
        if header != HEADER:
            raise Differs(f"its columns are {header}")
        for tenant, account, currency, balance, count in rows:
            key = (tenant, account, currency)
            if key in balances:
                raise Differs(f"{key} has two rows")
            balances[key] = decimal.Decimal(balance)
            lines[key] = int(count)
    return balances, lines


def query_balances(trueup: pathlib.Path, store: pathlib.Path) -> Balances:
    """Asks trueup for the balances of a store."""
    balances: Balances = {}
    for row in query(trueup, store, "balances"):
        key = (row["tenant"], row["account"], row["currency"])
        balances[key] = decimal.Decimal(row["balance"])
    return balances


def query_lines(trueup: pathlib.Path, store: pathlib.Path) -> Lines:
    """Counts the posted lines of each account; `balances` has no such column."""
    lines: Lines = collections.Counter()
    for row in query(trueup, store, "postings"):
        lines[row["tenant"], row["account"], row["currency"]] += 1
    return lines


def query(trueup: pathlib.Path, store: pathlib.Path, view: str):
    """Yields the rows of a view."""
    command = [trueup, "query", view, "--store", store, "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as program:
        yield from csv.DictReader(program.stdout)
    if program.returncode != 0:
        raise Differs(f"`trueup query {view}` ended with {program.returncode}")


def compare(what: str, wanted: dict, found: dict) -> None:
    """Raises `Differs` unless both maps have the same rows."""
    if wanted == found:
        return
    wrong = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
    examples = [
        f"{' '.join(key)}: {found.get(key, 'no row')}, trueup has {wanted.get(key, 'no row')}"
        for key in sorted(wrong)[:3]
    ]
    raise Differs(f"{len(wrong)} of {len(wanted)} {what} differ: " + "; ".join(examples))


def damaged(balances: Balances, lines: Lines) -> list[tuple[str, Balances, Lines]]:
    """Returns copies of a result with one thing wrong in each, all of which must be refused."""
    key = sorted(balances)[len(balances) // 2]
    smallest = decimal.Decimal("0.000000001")
    fewer = {k: balance for k, balance in balances.items() if k != key}
    stranger = (key[0], key[1] + " ", key[2])
    return [
        ("a last digit is wrong", {**balances, key: balances[key] + smallest}, lines),
        ("a row is missing", fewer, lines),
        ("there is a row too many", {**balances, stranger: decimal.Decimal(0)}, lines),
        ("a line is counted twice", balances, {**lines, key: lines[key] + 1}),
    ]
