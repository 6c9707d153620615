#!/bin/sh
# Shows a command, runs it, and appends its name and the seconds it took to a file.
# usage: timed.sh FILE NAME COMMAND...
file=$1
name=$2
shift 2
printf '\n$ %s\n' "$*"
start=$(date +%s)
"$@" || {
  status=$?
  echo "$name stopped with exit code $status" >&2
  exit "$status"
}
mkdir -p "$(dirname "$file")"
echo "$name $(($(date +%s) - start))" >>"$file"
