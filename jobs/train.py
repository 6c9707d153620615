"""A dataset becomes a model: horovodrun -np 2 python jobs/train.py --config FILE."""

from jsonargparse import ArgumentParser, Namespace

from recsys import command
from recsys.config import Config


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--plan", "--check", action="store_true", help="say what would be done")


def main(config: Config, options: Namespace) -> None:
    from recsys.train import pipeline, plan  # load TensorFlow: after the command line is checked

    if options.plan:
        plan.plan(config)
    else:
        pipeline.run(config)


if __name__ == "__main__":
    command.run("train", "A dataset becomes a model.", main, add_options)
