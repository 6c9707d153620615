"""A trained model as the later stages see it: where it is, which one, and for which items."""

from __future__ import annotations

from dataclasses import dataclass

from recsys import files
from recsys.encoding import INPUTS
from recsys.errors import DataError
from recsys.manifest import Manifest
from recsys.scale import Scale
from recsys.schemas import HISTORIES, with_inputs


@dataclass(frozen=True)
class Trained:
    """One version of a model.

    Args:
        url: of the version
        model_version: the fingerprint of its weights, vocabulary and configuration
        trained_on: the splits that it was fitted to
        inputs: the arrays of a history that it reads
        purchase_threshold: the probability of a purchase from which on one is predicted, as chosen
            on validation; none where the model does not know such probabilities
        known_items: from the vocabulary's first item on, those that it can rank
    """

    url: str
    model_version: str
    trained_on: tuple[str, ...]
    known_items: int
    inputs: tuple[str, ...] = INPUTS
    purchase_threshold: float | None = None

    @property
    def export(self) -> str:
        """The URL of its SavedModel."""
        return files.join(self.url, "export")

    @property
    def encoder(self) -> str:
        """The URL of the SavedModel of what reads histories."""
        return files.join(self.url, "encoder")


def read(place: str, dataset: Manifest) -> Trained:
    """The current model, which must have been trained on the dataset's vocabulary.

    Raises:
        DataError: no model, one of another vocabulary, one that reads what the dataset lacks or
            normalizes otherwise, or one that an older version wrote
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
    if absent := sorted({"model_version", "trained_on", "known_items"} - about.keys()):
        raise DataError(
            f"{where}: expected the key {absent[0]}, found none; run jobs/train.py again"
        )
    inputs = tuple(about.get("inputs", INPUTS))
    missing = sorted(set(inputs) - set(with_inputs(HISTORIES, dataset.inputs)))
    if missing:
        raise DataError(
            f"{dataset.url}: expected histories with the array {missing[0]}, which {where} reads, "
            "found none; run jobs/train.py again"
        )
    for name, own in about.get("event_numbers", {}).items():
        if Scale.read(own) != dataset.event_numbers[name]:
            raise DataError(
                f"{dataset.url}: expected {name} normalized as {where} reads it "
                f"({Scale.read(own)}), found {dataset.event_numbers[name]}; run jobs/train.py again"
            )
    return Trained(
        url,
        about["model_version"],
        tuple(about["trained_on"]),
        int(about["known_items"]),
        inputs,
        about.get("purchase_threshold"),
    )
