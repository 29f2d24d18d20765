#!/usr/bin/env bash
# Brings Trino, a peer of bench/relational.sh: its server comes from Maven Central once, about 820 MB, and needs Java 24
# or newer. Prints the program of Java and the server's directory; where something is missing it says what, and exits 3.
#   bench/trino.sh
set -euo pipefail
version=476
home=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/trino-$version

java=
for candidate in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
  [[ -x $candidate ]] || continue
  # "openjdk version "25.0.1" …": what is early is "24-ea".
  major=$("$candidate" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  if [[ -n $major ]] && ((major >= 24)); then
    java=$candidate
    break
  fi
done
[[ -n $java ]] || { echo "no Java 24 or newer in JAVA_HOME, PATH or /usr/lib/jvm" >&2; exit 3; }

if [[ ! -d $home ]]; then
  command -v mvn >/dev/null || { echo "no mvn to bring Trino $version" >&2; exit 3; }
  rm -rf "$home.new"
  mkdir -p "$home.new"
  if ! mvn --quiet --batch-mode dependency:copy "-Dartifact=io.trino:trino-server:$version:tar.gz" \
    "-DoutputDirectory=$home.new" >&2; then
    echo "Trino $version could not be brought" >&2
    exit 3
  fi
  tar xzf "$home.new/trino-server-$version.tar.gz" -C "$home.new" --strip-components=1
  rm "$home.new/trino-server-$version.tar.gz"
  mv "$home.new" "$home"
fi
echo "$java"
echo "$home"
