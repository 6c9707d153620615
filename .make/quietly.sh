#!/bin/sh
# Names a step in one line and keeps its output in a log; shows the log's end when the step fails.
# usage: quietly.sh LOG LABEL COMMAND...
log=$1
label=$2
shift 2
mkdir -p "$(dirname "$log")"
echo "$label"
echo "=== $label: $*" >>"$log"
"$@" >>"$log" 2>&1 || {
  status=$?
  tail -n 30 "$log" >&2
  echo "Failed: $label. The whole log is in $log" >&2
  exit "$status"
}
