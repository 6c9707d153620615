"""The versions of an output: list them, go back to one, remove old ones."""

from jsonargparse import ArgumentParser, Namespace

from recsys import command, versions
from recsys.config import Config

OUTPUTS = ("dataset", "model", "report", "recommendations")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--of", choices=OUTPUTS, default="recommendations", help="which output")
    parser.add_argument("--back_to", metavar="ID", help="make this published version current")
    parser.add_argument("--prune", type=int, metavar="N", help="keep the N newest and the current")


def main(config: Config, options: Namespace) -> None:
    place = getattr(config.paths, options.of)
    if options.back_to is not None:
        versions.back_to(place, options.back_to)
    if options.prune is not None:
        versions.prune(place, options.prune)
    print("\n".join(versions.listed(place)))


if __name__ == "__main__":
    command.run("versions", "The versions of an output.", main, add_options)
