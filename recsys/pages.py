"""Pages for people: one look, one file each, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import jinja2

_MICROSECONDS = 1_000_000
# The attribute that tells best what an item is: the first of these that the catalogue has.
TITLES = ("name", "title", "product_type", "product_category")


def render(template: str, **content: Any) -> str:
    """A page of recsys/templates, self-contained.

    Args:
        template: file name, such as report.html
        content: what the template shows; text in it is escaped
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recsys", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"count": count, "percent": percent, "figure": figure, "day": day, "words": words}
    environment.filters.update(filters)
    return environment.get_template(template).render(**content)


def count(value: int) -> str:
    """A whole number that reads easily.

    >>> count(1469307)
    '1,469,307'
    """
    return f"{value:,}"


def percent(share: float) -> str:
    """A share of one as per cent.

    >>> percent(0.2041)
    '20.4%'
    """
    return f"{share:.1%}"


def figure(value: float) -> str:
    """A metric with as many places as one compares.

    >>> figure(0.20412), figure(8.3905)
    ('0.2041', '8.39')
    """
    return f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"


def day(microseconds: int) -> str:
    """The date of an instant in microseconds since the epoch, UTC.

    >>> day(1512086400000000)
    '1 December 2017'
    """
    when = datetime.datetime.fromtimestamp(microseconds / _MICROSECONDS, datetime.UTC)
    return f"{when.day} {when:%B %Y}"


def words(name: str) -> str:
    """A name of the program's, to be read by people.

    >>> words("items_not_in_catalogue")
    'Items not in catalogue'
    """
    text = name.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def plain(text: str) -> str:
    """Capital letters only where they say something.

    >>> plain("BREAD:ITALIAN/FRENCH"), plain("Private"), plain("22 LB")
    ('Bread: italian/french', 'Private', '22 lb')
    """
    shown = text.capitalize() if text.isupper() else text
    return shown.replace(":", ": ").replace("  ", " ")


def data_url(svg: bytes) -> str:
    """A picture as the address of an <img> that needs no file."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
