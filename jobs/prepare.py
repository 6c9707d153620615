"""Raw events and a catalogue become a dataset."""

from jsonargparse import Namespace

from recsys import command
from recsys.config import Config
from recsys.prepare import pipeline
from recsys.tables import spark_session


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "prepare") as spark:
        pipeline.run(spark, config)


if __name__ == "__main__":
    command.run("prepare", "Raw events and a catalogue become a dataset.", main)
