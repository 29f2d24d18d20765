#!/usr/bin/env bash
# Measures the operator over a thousand Exports with five runs each, on a real API server: memory, processor time and
# writes while nothing is due, how soon a change is reconciled and what it costs, and a start over the fleet. Kubernetes'
# own controller manager has as many CronJobs and Jobs at the same time. Takes about fifteen minutes; exits 1 when a
# target is missed.
#   LAKEGATE_BINARY=target/release/lakegate bench/cluster.sh
# LAKEGATE_BENCH_IDLE: seconds to idle (300).
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/prepare.sh
bash tests/cluster/build.sh kube-controller-manager
exec "${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/venv/bin/python" bench/cluster.py "${LAKEGATE_BINARY:-target/release/lakegate}"
