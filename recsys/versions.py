"""What can be done with the versions of an output, whichever stage wrote it."""

from __future__ import annotations

import logging

from recsys import files, lock
from recsys.errors import ConfigError, DataError

log = logging.getLogger(__name__)

_BY = "jobs/versions.py"


def listed(place: str) -> list[str]:
    """A line a version, oldest first."""
    published = files.published(place)
    current = published and files.current(place, made_by="a job").rsplit("/", 1)[-1]

    def line(name: str) -> str:
        state = "published" if name in published else "not finished"
        return f"{name}  {'current' if name == current else state}"

    return [line(name) for name in files.versions(place)]


def back_to(place: str, version_id: str) -> None:
    """Makes a version that was published before the current one again.

    Raises:
        DataError: it never was, or was removed; or a job is writing to the place
    """
    with lock.held(place, _BY) as held:
        known = set(files.published(place)) & set(files.versions(place))
        if version_id not in known:
            raise DataError(
                f"{place}: expected a published version ({', '.join(sorted(known)) or 'none'}), "
                f"found {version_id!r}"
            )
        held.check()
        files.publish(files.join(files.as_url(place), "versions", version_id))
    log.info("%s: %s is current", place, version_id)


def prune(place: str, keep: int) -> list[str]:
    """Removes what is older than the newest so many published versions; the current one stays.

    Returns:
        the ids that were removed

    Raises:
        ConfigError: keep is not positive
        DataError: nothing was published, or a job is writing to the place
    """
    if keep < 1:
        raise ConfigError(f"--prune: expected a positive number of versions, found {keep}")
    with lock.held(place, _BY) as held:
        current = files.current(place, made_by="a job").rsplit("/", 1)[-1]
        published = files.published(place)
        oldest = sorted(published)[-keep:][0]
        removed = [name for name in files.versions(place) if name < oldest and name != current]
        held.check()
        files.forget(place, removed)  # first: nobody goes back to half a version
        for name in removed:
            files.remove(files.join(files.as_url(place), "versions", name))
        _drop_days(place)
    log.info("%s: removed %s", place, ", ".join(removed) or "nothing")
    return removed


def _drop_days(place: str) -> None:
    """Removes the kept days of a dataset that none of its versions is made of any more."""
    url = files.as_url(place)
    manifests = [
        files.join(url, "versions", name, files.MANIFEST) for name in files.versions(place)
    ]
    used = {
        day["path"]
        for found in manifests
        if files.exists(found)
        for day in files.read_json(found).get("days", [])
    }
    for version in files.names(files.join(url, "days")):
        folder = files.join(url, "days", version)
        dates = {name: f"{version}/{name}" in used for name in files.names(folder) if "=" in name}
        for name in [name for name, is_used in dates.items() if not is_used]:
            files.remove(files.join(folder, name))
        if not any(dates.values()):
            files.remove(folder)
