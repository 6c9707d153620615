"""What Spark alone needs to part benchmarks/logs.py into sessions: the measure of its machine.

spark-submit benchmarks/prepare_sessions.py LOG OUTPUT

Every event with the number of its session: a sort of each user's events by time, the gap to the one
before, and a running sum of the gaps of more than half an hour; Parquet in, Parquet out.
"""

from __future__ import annotations

import sys

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

_GAP_MILLISECONDS = 30 * 60 * 1000


def main(log: str, output: str) -> None:
    spark = SparkSession.builder.appName("sessions").getOrCreate()
    by_time = Window.partitionBy("user_id").orderBy("timestamp")
    gap = F.col("timestamp").cast("bigint") - F.lag(F.col("timestamp").cast("bigint")).over(by_time)
    is_new = F.coalesce(gap > _GAP_MILLISECONDS, F.lit(True)).cast("int")
    events = spark.read.parquet(log).withColumn("is_new", is_new)
    session = F.sum("is_new").over(by_time.rowsBetween(Window.unboundedPreceding, 0))
    events.withColumn("session", session).drop("is_new").write.parquet(output)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
