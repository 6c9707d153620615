"""What a merchant's rules say in vain: values that no item has, and rows of stock without sense."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from recsys.config import Rules
from recsys.tables import ROW, UNREADABLE

log = logging.getLogger(__name__)

# What is asked of a user's lists alone: similar items have no user.
_OF_USERS = ("leave_out", "popularity", "own_items", "explore_share")

# Among so many values the nearest to a misspelt one is looked for.
_VALUES = 10_000


def without_effect(kind: str, rules: Rules) -> list[str]:
    """The rules that a kind of list does not follow, which the log names.

    Args:
        kind: of list
        rules: a merchant's
    """
    if kind != "similar":
        return []
    found = [f"score.rules.{name}" for name in _OF_USERS if getattr(rules, name)]
    if found:
        log.warning("similar: %s: without effect on lists that are of no user", ", ".join(found))
    return found


def ignored(items: DataFrame, rules: Rules, stock: DataFrame | None) -> dict[str, int]:
    """Counts what does nothing, and says so in the log.

    Args:
        items: schemas.items_schema of the dataset's attributes
        rules: a merchant's
        stock: tables.read_stock; none where there is no table

    Returns:
        configuration key to how many of its values, or rows, do nothing; only keys that have such
    """
    named = {"allow": rules.allow, "deny": rules.deny}
    found = {
        f"score.rules.{rule}.{name}": _values(f"score.rules.{rule}.{name}", items, name, values)
        for rule, of_rule in named.items()
        for name, values in of_rule.items()
    }
    if stock is not None:
        found["score.rules.stock"] = _rows(stock, rules)
    return {key: count for key, count in found.items() if count}


def is_in_stock(rules: Rules) -> Column:
    """Whether a row of the stock says that its item can be sold; null where nobody can tell."""
    if rules.stock.quantity is None:
        return F.lit(True)
    # To Spark what is no number is more than any.
    return F.nanvl(F.col("quantity").try_cast("double"), F.lit(None).cast("double")) > 0


def _values(key: str, items: DataFrame, name: str, values: Sequence[str]) -> int:
    is_list = isinstance(items.schema[name].dataType, ArrayType)
    known = items.select((F.explode(name) if is_list else F.col(name)).alias("value")).distinct()
    found = {row["value"] for row in known.where(F.col("value").isin(list(values))).collect()}
    missing = [value for value in dict.fromkeys(values) if value not in found]
    if missing:
        some = known.where("value is not null").limit(_VALUES).collect()
        nearest = difflib.get_close_matches(missing[0], [row["value"] for row in some], n=1)
        log.warning(
            "%s: expected values that items have, found %d without, such as %r%s",
            key, len(missing), missing[0], f"; did you mean {nearest[0]!r}?" if nearest else "",
        )  # fmt: skip
    return len(missing)


def _rows(stock: DataFrame, rules: Rules) -> int:
    is_vain = (
        F.col("item_id").isNull() | F.col(UNREADABLE).isNotNull() | is_in_stock(rules).isNull()
    )
    row = F.when(is_vain, F.to_json(ROW))
    counted = stock.agg(F.count_if(is_vain).alias("rows"), F.min(row).alias("first")).collect()[0]
    if counted["rows"]:
        log.warning(
            "score.rules.stock: expected rows with an item%s, found %d without, such as %s",
            "" if rules.stock.quantity is None else " and a number", counted["rows"],
            counted["first"],
        )  # fmt: skip
    return int(counted["rows"])
