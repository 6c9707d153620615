"""Raw events and a catalogue become a dataset."""

from jsonargparse import ArgumentParser, Namespace

from recsys import command
from recsys.config import Config
from recsys.prepare import pipeline, plan
from recsys.tables import spark_session


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--plan", action="store_true", help="read and say, write nothing")


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "prepare") as spark:
        if options.plan:
            plan.plan(spark, config)
        else:
            pipeline.run(spark, config)


if __name__ == "__main__":
    command.run("prepare", "Raw events and a catalogue become a dataset.", main, add_options)
