"""Users are removed from every table of the dataset."""

from jsonargparse import ArgumentParser, Namespace

from recsys import command, versions
from recsys.config import Config
from recsys.prepare import removal
from recsys.tables import spark_session


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--users",
        required=True,
        metavar="FILE",
        help="ids, one a line: as logged, or of merged users the person",
    )
    parser.add_argument("--prune", action="store_true", help="remove the older versions, too")


def main(config: Config, options: Namespace) -> None:
    with spark_session(config, "forget") as spark:
        removal.forget(spark, config, options.users)
    if options.prune:
        versions.prune(config.paths.dataset, keep=1)


if __name__ == "__main__":
    command.run("forget", "Users are removed from every table of the dataset.", main, add_options)
