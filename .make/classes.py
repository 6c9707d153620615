"""Uses of Spark what the jobs use of it, on a few rows: .make/classes.sh keeps what it loads."""

import tempfile
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F


def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What comes in."""
    yield from batches


if __name__ == "__main__":
    spark = SparkSession.builder.getOrCreate()
    of_key = Window.partitionBy("key").orderBy("id")
    rows = spark.range(1000).select(
        "id", (F.col("id") % 7).alias("key"), F.array(F.lit(1), F.lit(2)).alias("list"),
        F.col("id").cast("string").alias("text"), F.xxhash64("id").alias("hash"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("parquet", "json", "csv"):
            written = rows if kind != "csv" else rows.drop("list")
            written.write.format(kind).partitionBy("key").save(f"{folder}/{kind}")
            read = spark.read.format(kind).load(f"{folder}/{kind}")
            read.groupBy("key").count().toPandas()
        staged = spark.read.parquet(f"{folder}/parquet").withColumn("rank", F.rank().over(of_key))
        passed = staged.repartition(2, "key").sortWithinPartitions("key", "hash")
        passed = passed.mapInArrow(same, passed.schema)
        passed.join(F.broadcast(rows.select("id")), on="id", how="left").join(
            rows.groupBy("key").agg(F.sum("id").alias("sum"), F.collect_set("text")), on="key"
        ).orderBy("id").limit(5).collect()
        spark.read.format("binaryFile").load(f"{folder}/parquet").count()
    spark.stop()
