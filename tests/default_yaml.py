"""conf/default.yaml as the configuration's own docstrings give it."""

import dataclasses

import yaml
from docstring_parser import parse

from recsys.config import Config

_HEAD = (
    "# Every key, its default and its meaning. The other files hold only what differs from this."
)


def render() -> str:
    """The whole file: a line a key, its meaning behind it."""
    return "\n".join([_HEAD, *_section(Config(), depth=0)]) + "\n"


def _section(section: object, depth: int) -> list[str]:
    meanings = {
        entry.arg_name: " ".join((entry.description or "").split())
        for entry in parse(type(section).__doc__ or "").params
    }
    lines = []
    for field in dataclasses.fields(section):  # type: ignore[arg-type]
        value = getattr(section, field.name)
        indent, meaning = "  " * depth, meanings[field.name]
        if dataclasses.is_dataclass(value):
            lines += [""] * (depth == 0)
            lines += [f"{indent}{field.name}: # {meaning}", *_section(value, depth + 1)]
        else:
            plain = list(value) if isinstance(value, tuple) else value
            text = yaml.safe_dump(plain, default_flow_style=True, width=1000)
            lines.append(f"{indent}{field.name}: {text.splitlines()[0]} # {meaning}")
    return lines
