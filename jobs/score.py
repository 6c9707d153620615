"""Every user's history becomes recommendations."""

from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.score import pipeline
from recsys.tables import spark_session


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "score") as spark:
        pipeline.run(spark, config)


if __name__ == "__main__":
    command.run("score", "Every user's history becomes recommendations.", main)
