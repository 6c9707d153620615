"""What the jobs write for people, looked at in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import browser as browsers
from tests.browser import DESKTOP, PAPER, PHONE, Browser, Look
from tests.shop import Shop

SIZES = {"desktop": DESKTOP, "phone": PHONE}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = browsers.find()
    if path is None:
        pytest.skip(f"no browser ({', '.join(browsers.NAMES)}): as root make test installs one")
    with browsers.running(path, tmp_path_factory.mktemp("browser")) as started:
        yield started


def is_in_order(look: Look, width: int) -> None:
    assert look.errors == []
    assert look.addresses == [], "the page reads what is outside it"
    assert min(look.pictures) > 0, "a picture did not load"
    assert look.narrow == 0, "a picture is too small to be read"
    assert look.beyond == []
    assert look.width <= width, "the page scrolls sideways"


@pytest.mark.parametrize("size", SIZES)
def test_the_report_is_in_order(browser: Browser, report: Path, size: str) -> None:
    look = browser.look(report / "report.html", SIZES[size])
    is_in_order(look, SIZES[size][0])
    assert len(look.pictures) == 10
    assert "Three dozen users" in look.text
    assert "Leakage certificate" in look.text
    assert look.scrolling == 0 or size == "phone"


def test_the_report_fits_on_paper(browser: Browser, report: Path) -> None:
    look = browser.look(report / "report.html", PAPER, "print")
    is_in_order(look, PAPER[0])
    assert look.scrolling == 0


FOLDED = (
    "The first 2 recommendations",
    "harmonic mean of a case's precision and recall",
    "batch_rows: 128",
)


def test_what_is_folded_on_a_screen_is_printed(browser: Browser, report: Path) -> None:
    title, *inside = FOLDED
    on_screen = browser.look(report / "report.html", DESKTOP).text
    assert title in on_screen
    assert not [own for own in inside if own in on_screen]
    on_paper = browser.look(report / "report.html", PAPER, "print").text
    assert all(own in on_paper for own in FOLDED)
    assert on_paper.count("Hit rate") > on_screen.count("Hit rate"), "tables of other lengths"


@pytest.mark.parametrize("size", SIZES)
def test_the_comparison_is_in_order(browser: Browser, comparison: Path, size: str) -> None:
    look = browser.look(comparison, SIZES[size])
    is_in_order(look, SIZES[size][0])
    assert len(look.pictures) == 2
    assert "ranking.exclude_history" in look.text
    assert look.scrolling == 0 or size == "phone"


@pytest.mark.slow
def test_the_report_of_a_shop_is_in_order(browser: Browser, shop: Shop) -> None:
    look = browser.look(shop.current("report") / "report.html", PHONE)
    is_in_order(look, PHONE[0])
    assert "Leakage certificate" in look.text


def test_what_is_wrong_with_a_page_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><body><p style="width: 2000px">wide</p><img src="nowhere.png">'
        '<script src="https://example.com/script.js"></script>'
        "<script>console.error('said'); throw new Error('thrown')</script>"
    )
    look = browser.look(page, PHONE)
    assert look.width >= 2000
    assert look.beyond == ['<p style="width: 2000px">wide</p>']
    assert look.pictures == [0]
    assert {"https://example.com/script.js", (tmp_path / "nowhere.png").as_uri()} == {
        *look.addresses
    }
    for error in ("said", "thrown", "ERR_NAME_NOT_RESOLVED", "ERR_FILE_NOT_FOUND"):
        assert any(error in found for found in look.errors), error
