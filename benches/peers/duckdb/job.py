"""DuckDB: computes the balances of a file of events from nothing, in memory.

usage: job.py INPUT RESULT THREADS
"""

import json
import sys
import time

import duckdb

# Only the columns that matter are read. An amount that has more than nine fraction digits would be
# rounded by the cast; `balances` is right because a store of trueup refuses such an amount.
BALANCES = """
create table balances as
with events as (
    select * from read_json($input, format = 'newline_delimited', columns = {
        tenant: 'VARCHAR', transaction_id: 'VARCHAR', leg: 'VARCHAR', revision: 'BIGINT',
        postings: 'STRUCT(account VARCHAR, side VARCHAR, amount DECIMAL(38, 9), currency VARCHAR)[]'
    })
),
current as (
    select tenant, arg_max(postings, coalesce(revision, 1)) as postings
    from events group by tenant, transaction_id, coalesce(leg, '')
),
lines as (
    select tenant, unnest(postings) as line from current
)
select tenant, line.account as account, line.currency as currency,
    sum(case when line.side = 'debit' then line.amount else -line.amount end) as balance,
    count(*) as lines
from lines group by all
"""


def main() -> None:
    started_at_ns = time.time_ns()
    source, result, threads = sys.argv[1:]
    connection = duckdb.connect()
    connection.execute(f"set threads = {int(threads)}")
    # Lines may be read in any order, which lets threads read the file side by side.
    connection.execute("set preserve_insertion_order = false")
    connection.execute(BALANCES, {"input": source})
    completed_at_ns = time.time_ns()
    connection.execute("copy balances to $result (format csv)", {"result": result})
    print(json.dumps({"started_at_ns": started_at_ns, "completed_at_ns": completed_at_ns}))


main()
