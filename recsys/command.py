"""What every job does around its work: parse, call, and leave with an exit code.

0: done. 2: the configuration is wrong. 3: the data are wrong. 4: the model misses a floor. Anything
else is a fault of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import logging
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from typing import NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from recsys import files
from recsys.config import Config
from recsys.errors import ConfigError, DataError, FloorError

log = logging.getLogger("recsys")

_SECTIONS = tuple(name for name, value in vars(Config()).items() if is_dataclass(value))


class _Parser(ArgumentParser):
    """Says in one line what is wrong with a key, and which known key is nearest."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ConfigError(_one_line(message, _known_keys(self)))


def _known_keys(parser: ArgumentParser) -> list[str]:
    actions = parser._actions  # argparse has no public list of its options
    return [option[2:] for action in actions for option in action.option_strings if "--" in option]


# How jsonargparse words it, on the command line and in a file.
_UNKNOWN_KEY = re.compile(
    r"unrecognized arguments: --(?P<key>[\w.]+)"
    r"|Group '(?P<group>[\w.]+)' does not accept option '(?P<option>[\w.]+)'"
    r"|Option '(?P<top>[\w.]+)' is not accepted"
)
_WRONG_TYPE = re.compile(
    r'Parser key "(?P<key>[\w.]+)": Expected an? (?P<type>.+?)\. Got value: (?P<found>.+)'
)
_NO_SECTION = re.compile(
    r'Parser key "(?P<key>[\w.]+)": Unable to load config [\'"](?P<found>.+?)[\'"]'
)


def _one_line(message: str, known: Sequence[str]) -> str:
    line = " ".join(message.split())
    if wrong := _WRONG_TYPE.search(line):
        expected = re.sub(r"<class '(\w+)'>|typing\.", r"\1", wrong["type"])
        return f"{wrong['key']}: expected {expected}, found {wrong['found']}"
    if plain := _NO_SECTION.search(line):
        return f"{plain['key']}: expected a section of keys, found {plain['found']!r}"
    if unknown := _UNKNOWN_KEY.search(line):
        key = ".".join(part for part in unknown.groups() if part)
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        hint = f"; the nearest known one is {nearest[0]}" if nearest else ""
        return f"{key}: unknown key{hint}"
    return line


def parser(job: str, purpose: str) -> ArgumentParser:
    """The command line of a job: --config, a dotted override for every key, --print_config."""
    usage = f"jobs/{job}.py [--config FILE] [--KEY VALUE ...] [--print_config] [--help]"
    result = _Parser(prog=f"jobs/{job}.py", usage=usage, description=purpose, allow_abbrev=False)
    result.add_argument("--config", action=ActionConfigFile, help="a YAML file of differences")
    result.add_class_arguments(Config, as_group=False)
    return result


def parse(command_line: ArgumentParser, arguments: Sequence[str]) -> tuple[Config, Namespace]:
    """The configuration, and with it whatever else the job asked its command line for.

    Raises:
        ConfigError: names the key, what was expected and what was found
    """
    try:
        namespace = command_line.parse_args(list(arguments))
    except TypeError as error:  # jsonargparse's, of a plain value where a section belongs
        raise ConfigError(f"expected sections of keys, found a plain value: {error}") from error
    for name in _SECTIONS:
        if not isinstance(namespace[name], Namespace):
            raise ConfigError(f"{name}: expected a section of keys, found {namespace[name]!r}")
    built = command_line.instantiate(namespace)
    fields = {name: built[name] for name in Config.__dataclass_fields__}
    return Config(**fields), namespace


def to_yaml(config: Config) -> str:
    """The resolved configuration, as it is saved beside every output."""
    return str(yaml.safe_dump(_plain(config.to_dict()), sort_keys=False))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def run(
    job: str,
    purpose: str,
    work: Callable[[Config, Namespace], None],
    add_options: Callable[[ArgumentParser], None] = lambda _: None,
) -> NoReturn:
    """Parses the command line, does the work, and exits."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    for chatty in ("py4j", "petastorm", "absl", "tensorflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    command_line = parser(job, purpose)
    add_options(command_line)
    try:
        config, namespace = parse(command_line, sys.argv[1:])
        work(config, namespace)
    except (ConfigError, DataError, FloorError) as error:
        for line in str(error).splitlines():
            print(f"{job}: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in files.FULL:
            raise
        where = error.filename or tempfile.gettempdir()
        print(f"{job}: {where}: expected room to write, found a full disk", file=sys.stderr)
        sys.exit(DataError.exit_code)
    sys.exit(0)
