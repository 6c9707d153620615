"""A trained model as the later stages see it: where it is, which one, and for which items."""

from __future__ import annotations

from dataclasses import dataclass

from recsys import files
from recsys.errors import DataError
from recsys.manifest import Manifest


@dataclass(frozen=True)
class Trained:
    """One version of a model.

    Args:
        url: of the version
        model_version: the fingerprint of its weights, vocabulary and configuration
        trained_on: the splits that it was fitted to
    """

    url: str
    model_version: str
    trained_on: tuple[str, ...] = ("train",)

    @property
    def export(self) -> str:
        """The URL of its SavedModel."""
        return files.join(self.url, "export")


def read(place: str, dataset: Manifest) -> Trained:
    """The current model, which must have been trained on the dataset's vocabulary.

    Raises:
        DataError: no model, or one of another vocabulary
    """
    url = files.current(place, made_by="jobs/train.py")
    where = files.join(url, "model.json")
    about = files.read_json(where)
    found = about.get("vocabulary_fingerprint")
    if found != dataset.vocabulary_fingerprint:
        raise DataError(
            f"{where}: expected vocabulary_fingerprint {dataset.vocabulary_fingerprint} of "
            f"{dataset.url}, found {found}; run jobs/train.py again"
        )
    return Trained(url, about["model_version"], tuple(about["trained_on"]))
