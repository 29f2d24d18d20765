#!/usr/bin/env bash
# Opens the lake of a running `lakegate serve` as an Iceberg REST catalog with other engines, as a user with a password,
# and compares every value with what psql shows. PyIceberg and DuckDB come with tests/requirements.txt; Spark brings
# about 450 MB from PyPI and Maven Central once, Trino 820 MB, and both need Java.
#   LAKEGATE_BINARY=target/debug/lakegate tests/readers/rest.sh [pyiceberg] [duckdb] [spark] [trino]   (all when none is named)
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
binary=$(realpath "${LAKEGATE_BINARY:-${CARGO_TARGET_DIR:-target}/debug/lakegate}")
readers=("$@")
((${#readers[@]})) || readers=(pyiceberg duckdb spark trino)

more=()
for reader in "${readers[@]}"; do
  case $reader in
    pyiceberg | duckdb) ;;
    spark)
      # Spark joins the tests' environment, and goes with it when that is made anew.
      exec 8>"$cache/.venv.lock"
      flock 8
      stamp=$cache/venv/.$(sha256sum tests/readers/requirements.txt | cut -c1-16)
      if [[ ! -e $stamp ]]; then
        "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/readers/requirements.txt
        touch "$stamp"
      fi
      exec 8>&-
      # the oldest runtime that filters uuids right
      jar=$cache/spark-jars/iceberg-spark-runtime-4.0_2.13-1.10.1.jar
      if [[ ! -e $jar ]]; then
        mvn --quiet --batch-mode dependency:copy \
          -Dartifact=org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1 "-DoutputDirectory=${jar%/*}" >&2
      fi
      more+=(--spark "$cache/venv/bin/python" "$jar")
      ;;
    trino)
      { read -r java && read -r home; } < <(bash bench/trino.sh)
      more+=(--trino "$java" "$home")
      ;;
    *)
      echo "unknown reader $reader: pyiceberg, duckdb, spark or trino" >&2
      exit 2
      ;;
  esac
done
exec "$cache/venv/bin/python" -B tests/readers/rest.py "$binary" "${readers[@]}" "${more[@]}"
