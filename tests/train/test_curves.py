import io

import matplotlib.image
import numpy as np
import pytest

from recsys.train import curves
from recsys.train.curves import draw_curves, metrics_drawn

HISTORY = [
    {"epoch": epoch, "loss": 3 - epoch / 4, "ndcg@10": ndcg, "recall@20": 0.3, "mrr@20": 0.1}
    for epoch, ndcg in ((1, 0.12), (2, 0.19), (3, 0.17))
]


def test_the_metric_that_chooses_is_drawn_first_and_once() -> None:
    assert metrics_drawn("ndcg@10") == ("ndcg@10", "recall@20", "mrr@20")
    assert metrics_drawn("mrr@20") == ("recall@20", "mrr@20")


@pytest.mark.parametrize("chosen_by", ["ndcg@10", "recall@20"])
def test_the_picture_has_every_metric_and_the_epoch(
    chosen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    class Figure(curves.Figure):
        def savefig(self, *given: object, **named: object) -> None:
            drawn.extend(self.axes)
            super().savefig(*given, **named)

    monkeypatch.setattr(curves, "Figure", Figure)
    pixels = matplotlib.image.imread(io.BytesIO(draw_curves(HISTORY, chosen_by)))
    assert pixels.shape[:2] == (300, 800)
    epoch = 2 if chosen_by == "ndcg@10" else 1
    for axes, names in zip(drawn, (("loss",), metrics_drawn(chosen_by)), strict=True):
        *lines, mark = axes.get_lines()
        assert [line.get_label() for line in lines] == list(names)
        for line, name in zip(lines, names, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), [own[name] for own in HISTORY])
        assert set(mark.get_xdata()) == {epoch}
