#!/bin/sh
# Runs a command in the project's environment: its packages, its Spark, and nothing open to the
# network.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
export PATH="$root/.venv/bin:$PATH"
export PYSPARK_PYTHON="$root/.venv/bin/python"
export PYSPARK_DRIVER_PYTHON="$PYSPARK_PYTHON"
export SPARK_LOCAL_IP=127.0.0.1
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
# Java takes .make/classes.sh's archive only where no folder on its path holds a file.
export SPARK_CONF_DIR="${SPARK_CONF_DIR:-$root/.venv/spark/conf}"
log="-Dlog4j2.configurationFile='$root/conf/log4j2.properties'"
classes="-XX:SharedArchiveFile='$root/.venv/spark/classes.jsa' -Xshare:auto"
case ${SPARK_SUBMIT_OPTS-} in *-XX:ArchiveClassesAtExit*) classes= ;; esac
export SPARK_SUBMIT_OPTS="$log $classes ${SPARK_SUBMIT_OPTS-}"
unset SPARK_HOME                   # of some other Spark
java_home=$("$root/.make/system.sh" java-home)
[ -z "$java_home" ] || export JAVA_HOME="$java_home"
exec "$@"
