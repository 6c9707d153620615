"""A run's parts: each is written, recorded and read back; a run that goes on skips what is whole.

versions/<id>/run.json                                    what the run is
versions/<id>/parts/home-00003.json                       the part is done, and what it holds
versions/<id>/home/date=…/model=…/part=00003/*.parquet    its lists
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession

from recsys import files, tables
from recsys.errors import DataError
from recsys.lock import Held
from recsys.schemas import PAIR_SOURCES, RECOMMENDATION_FOLDERS
from recsys.score import counting
from recsys.score.plan import Plan
from recsys.score.worker import scored

log = logging.getLogger(__name__)

_RUN = "run.json"
# Behind the name of a table that is whole.
_DONE = ".done"


@dataclass(frozen=True)
class Part:
    """What one part holds.

    Args:
        kind: of its lists
        number: of the part
        input: fingerprint of where its subjects are from
        subjects: who have a list
        rows: of the table
        recommendations: in all lists
        fallbacks: lists that are popular items only
        sources: of pairs: how many are from each of schemas.PAIR_SOURCES
        content: fingerprint of its rows, whatever their order
    """

    kind: str
    number: int
    input: str
    subjects: int
    rows: int
    recommendations: int
    fallbacks: int
    content: str
    sources: dict[str, int] = field(default_factory=dict)


def total(parts: Sequence[Part]) -> dict[str, Any]:
    """The counts of all of them, and one fingerprint, however the rows are shared out."""
    counts = ("subjects", "rows", "recommendations", "fallbacks")
    content = sum(int(part.content, 16) for part in parts) % 2**64
    sources = sorted({name for part in parts for name in part.sources})
    of_pairs = {name: sum(part.sources[name] for part in parts) for name in sources}
    return {
        **{name: sum(getattr(part, name) for part in parts) for name in counts},
        **({"sources": of_pairs} if of_pairs else {}),
        "content": f"{content:016x}",
    }


class Run:
    """One version that is being written.

    Args:
        version: its URL
        about: all that decides the content
        date: that the lists are for
        held: the lock of the place
    """

    def __init__(self, version: str, about: dict[str, Any], date: str, held: Held) -> None:
        self.version = version
        self.about = about
        self.date = date
        self._held = held
        self.done: list[Part] = []

    @staticmethod
    def open(place: str, about: dict[str, Any], date: str, held: Held) -> Run:
        """The run of this description that was not published, or a new one.

        Other unfinished versions are removed: the place is locked, so nobody writes them.

        Args:
            place: of the recommendations
            about: all that decides the content
            date: that the lists are for
            held: the lock of the place
        """
        found, published = None, set(files.published(place))
        for version_id in files.versions(place):
            version = files.join(files.as_url(place), "versions", version_id)
            if version_id in published:
                continue
            if found is None and _read(files.join(version, _RUN)) == about:
                found = version
            elif not files.exists(files.join(version, files.MANIFEST)):
                files.remove(version)
        version = found or files.new_version(place)
        files.write_json(files.join(version, _RUN), about)
        if found:
            done = len(files.names(files.join(version, "parts")))
            log.info("going on with %s, %d parts of which are done", version, done)
        return Run(version, about, date, held)

    def lists_url(self, plan: Plan, number: int) -> str:
        """Where a part's lists go."""
        folders = (f"date={self.date}", f"model={plan.model_version}", _folder(number))
        return files.join(self.version, plan.kind, *folders)

    def staged(
        self, name: str, frame: DataFrame, schema: dict[str, str], rows_per_file: int
    ) -> str:
        """Writes a table that only the run needs, unless that was done before; its URL."""
        url = files.join(self.version, "staging", name)
        record = f"{url}{_DONE}"
        if not files.exists(record):
            if files.exists(url):
                files.remove(url)
            with tables.reading("the input of the lists", to=url):
                tables.write(frame, url, schema, rows_per_file=rows_per_file)
            files.write_bytes(record, b"")
        return url

    def begin(self, spark: SparkSession, plan: Plan) -> None:
        """Reads what is done of a kind of list, and forgets the parts that are damaged."""
        done = self._recorded(plan.kind)
        for part in _damaged(done, self._found(spark, plan) if done else {}):
            url = self.lists_url(plan, part.number)
            log.warning("%s: not as it was written, so scored again", url)
            files.remove(self._record(plan.kind, part.number))

    def drop_others(self, plan: Plan) -> None:
        """Removes the parts of a kind of list that are none of this run's, whoever left them."""
        own = {part.number for part in self.done if part.kind == plan.kind}
        for part in self._recorded(plan.kind):
            if part.number not in own:
                files.remove(self._record(plan.kind, part.number))
        parent = self.lists_url(plan, 0).rpartition("/")[0]
        for name in files.names(parent):
            if name not in {_folder(number) for number in own}:
                log.warning("%s: not recorded, so removed", files.join(parent, name))
                files.remove(files.join(parent, name))

    def verify(self, spark: SparkSession, plan: Plan) -> None:
        """Makes sure that the parts of a kind of list read as they were written, and no others.

        Raises:
            DataError: one does not, or is not recorded; a run that goes on mends it
        """
        done = [part for part in self.done if part.kind == plan.kind]
        found = self._found(spark, plan)
        for part in _damaged(done, found):
            raise DataError(
                f"{self.lists_url(plan, part.number)}: expected the {part.rows} rows that were "
                "written, found a damaged table; run jobs/score.py again"
            )
        for number in sorted(found.keys() - {part.number for part in done}):
            raise DataError(
                f"{self.lists_url(plan, number)}: expected no part that is not recorded, found "
                f"{found[number][0]} rows; run jobs/score.py again"
            )

    def _found(self, spark: SparkSession, plan: Plan) -> dict[int, tuple[int, str]]:
        """Rows and content of every part that can be read and has any."""
        url = files.join(self.version, plan.kind)
        if not files.exists(url):
            return {}
        lists = tables.read_undamaged(spark, url, {**plan.schema, **RECOMMENDATION_FOLDERS})
        rows = lists.groupBy("part").agg(*counting.rows_and_content(*plan.schema)).collect()
        return {
            int(row["part"]): (row["rows"], counting.fingerprint(row["content"])) for row in rows
        }

    def _record(self, kind: str, number: int) -> str:
        return files.join(self.version, "parts", f"{kind}-{number:05d}.json")

    def _recorded(self, kind: str) -> list[Part]:
        # Beside them may lie the draft of one that a full disk or a kill has cut off.
        names = files.names(files.join(self.version, "parts"))
        numbers = [re.fullmatch(rf"{kind}-(\d+)\.json", name) for name in names]
        found = [self._part(kind, int(number[1])) for number in numbers if number]
        return [part for part in found if part is not None]

    def _part(self, kind: str, number: int) -> Part | None:
        """A part that is done; none where nobody recorded it, or the record cannot be read."""
        content = _read(self._record(kind, number))
        try:
            return None if content is None else Part(**content)
        except TypeError as error:
            log.warning("%s: not the record of a part: %s", self._record(kind, number), error)
            return None

    def finish(self) -> None:
        """Removes what only the run needed, once it is published.

        Written again, these tables would be shared out otherwise to their files, that is to the
        parts: so they stay until no part can be wanted again. A kill in the middle leaves nothing
        that looks whole.
        """
        staging = files.join(self.version, "staging")
        for name in files.names(staging):
            if name.endswith(_DONE):
                files.remove(files.join(staging, name))
        if files.exists(staging):
            files.remove(staging)

    def write(
        self, subjects: DataFrame, plan: Plan, number: int, expected: int | None, of: str
    ) -> Part:
        """Scores a part, unless that was done before.

        Args:
            subjects: as worker.scored takes them
            plan: what the lists shall be
            number: of the part
            expected: how many rows there must be; none where nobody knows
            of: fingerprint of where they are from

        Returns:
            what it holds

        Raises:
            DataError: the input cannot be read, somebody was lost on the way, or another run has
                taken the place
        """
        self._held.check()  # the other run may go on with this very version
        part = self._part(plan.kind, number)
        if part is None or part.input != of:
            url = self.lists_url(plan, number)
            if files.exists(url):
                files.remove(url)  # of a try that was cut short
            part = replace(_write(subjects, plan, number, url, expected), input=of)
            files.write_json(self._record(plan.kind, number), asdict(part))
            log.info("%s: part %d, %d subjects", plan.kind, number, part.subjects)
        self.done.append(part)
        return part


def _folder(number: int) -> str:
    return f"part={number:05d}"


def _damaged(parts: Sequence[Part], found: Mapping[int, tuple[int, str]]) -> list[Part]:
    """Those whose rows and content as found are not those that were written."""
    nothing = (0, counting.fingerprint(None))
    return [part for part in parts if found.get(part.number, nothing) != (part.rows, part.content)]


def _read(url: str) -> Any:
    """A file of JSON; none where it is not there, or damaged: what it says is done again then."""
    if not files.exists(url):
        return None
    try:
        return files.read_json(url)
    except DataError as error:
        log.warning("%s; taken as not there", error)
        return None


def _write(subjects: DataFrame, plan: Plan, number: int, url: str, expected: int | None) -> Part:
    incoming, outgoing = Observation(), Observation()
    lists = scored(subjects.observe(incoming, *counting.coming(plan)), plan)
    with tables.reading(f"the input of {plan.kind}, part {number}", to=url):
        tables.write(lists.observe(outgoing, *counting.totals(plan)), url, plan.schema)
    came, found = incoming.get, outgoing.get
    for what, wanted, got in (
        ("rows read", expected, came["rows"]),
        ("lists", came["lists"], found["lists"]),
    ):
        if wanted is not None and got != wanted:
            raise DataError(f"{url}: expected {wanted} {what}, found {got}")
    content = counting.fingerprint(found["content"])
    counts = (found.get("recommendations", 0), found.get("fallbacks", 0))
    sources = {name: found[name] for name in PAIR_SOURCES if name in found}
    return Part(plan.kind, number, "", came["subjects"], found["rows"], *counts, content, sources)
