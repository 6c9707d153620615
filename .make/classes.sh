#!/bin/sh
# Keeps Spark's classes as Java has them in memory once they are loaded and checked (class data
# sharing), in .venv/spark/classes.jsa: every later JVM starts several seconds of processor time
# sooner. Java leaves aside an archive that does not fit, and nothing needs one.
#
# usage: classes.sh
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
mkdir -p "$root/.venv/spark/conf"
rm -f "$root/.venv/spark/classes.jsa"
# Which class it can't keep is nobody's matter.
SPARK_SUBMIT_OPTS="-XX:ArchiveClassesAtExit='$root/.venv/spark/classes.jsa' -Xlog:cds=off -Xlog:cds+dynamic=off" \
  "$root/.make/run.sh" spark-submit --master 'local[2]' --conf spark.ui.enabled=false \
  "$root/.make/classes.py" || echo 'Spark starts without them.'
