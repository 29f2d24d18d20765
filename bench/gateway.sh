#!/usr/bin/env bash
# Measures the gateway as a Postgres server, on the release binary: how fast rows leave it beside PostgreSQL 15 with the
# same rows, in each way a client may ask for them; memory while 50 million rows go to JDBC, asyncpg and COPY; the wait of
# a small question while large ones run; what a client asks about 3,000 tables; and how soon a cancelled query is gone.
# The client that drains has a core of its own. Takes about ten minutes; exits 1 when a target is missed. JDBC needs a JDK
# and Maven.
#   LAKEGATE_BINARY=target/release/lakegate bench/gateway.sh [part …]     parts: rows memory waits catalog cancel
# LAKEGATE_BENCH_ROWS: rows of the large results (50 million).
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(bash bench/prepare.sh)
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
jdbc=$cache/jdbc/postgresql-42.7.7.jar
if [[ ! -e $jdbc ]] && command -v mvn >/dev/null; then
  mvn --quiet --batch-mode dependency:copy -Dartifact=org.postgresql:postgresql:42.7.7 "-DoutputDirectory=${jdbc%/*}" >&2
fi
LAKEGATE_BENCH_JDBC=$jdbc exec "$python" bench/gateway.py "${LAKEGATE_BINARY:-target/release/lakegate}" "$@"
