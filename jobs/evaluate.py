"""The model and references on the test split become a report."""

from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.evaluate import pipeline
from recsys.tables import spark_session


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "evaluate") as spark:
        pipeline.run(spark, config)


if __name__ == "__main__":
    command.run("evaluate", "The model and references on the test split become a report.", main)
