"""Two reports side by side, on one page."""

from jsonargparse import ArgumentParser, Namespace

from recsys import command
from recsys.config import Config
from recsys.evaluate import comparison


def add_options(parser: ArgumentParser) -> None:
    what = "a version's id in paths.report, or the place of another report"
    parser.add_argument("--first", metavar="ID", help=f"{what}; else the one before the second")
    parser.add_argument("--second", metavar="ID", help=f"{what}; else the current one")
    parser.add_argument("--page", metavar="URL", help="else comparison.html in paths.report")


def main(config: Config, options: Namespace) -> None:
    comparison.run(config, options.first, options.second, options.page)


if __name__ == "__main__":
    command.run("compare", "Two reports side by side, on one page.", main, add_options)
