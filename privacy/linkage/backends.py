"""Where Splink weighs the candidate pairs: inside the linking connection (DuckDB), or on Spark.

Everything before and after is DuckDB on one machine. Spark gets the pairs and the patterns that stand in them, and
gives the same weights back. Its session is what Spark's own configuration says (`SPARK_CONF_DIR`); without one, Spark
runs on this machine.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import duckdb

from privacy.doors import environment

DUCKDB, SPARK = "duckdb", "spark"
Backend: TypeAlias = Callable[[duckdb.DuckDBPyConnection, dict[str, Any]], str]
"""Takes the connection, with `pairs` (match_key, join_key_l, join_key_r) and `patterns`, and Splink settings; makes a
table of Splink's predictions in the connection, and returns its name."""


class BackendUnavailable(Exception):
    """The backend cannot be used here; the message says what it needs."""


def backend(name: str) -> Backend:
    """The backend of this name. Raises `BackendUnavailable`."""
    if name == DUCKDB:
        return in_duckdb
    if name != SPARK:
        raise BackendUnavailable(f"the linkage backend is {DUCKDB} or {SPARK}, not {name}")
    if find_spec("pyspark") is None:
        raise BackendUnavailable("the linkage backend spark needs pyspark, the extra `spark`: run `make spark`")
    if not (shutil.which("java") or (environment.java_home() / "bin" / "java").is_file()):
        raise BackendUnavailable("the linkage backend spark needs Java 17 or newer, on PATH or in JAVA_HOME")
    return on_spark


def load_beside() -> None:
    """Have Splink imported by a thread while DuckDB is at work: it takes seconds."""
    threading.Thread(target=import_module, args=("splink",), daemon=True).start()


def in_duckdb(con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> str:
    """The default `Backend`: nothing leaves the connection."""
    from splink import DuckDBAPI  # see `load_beside`

    con.execute(
        "CREATE OR REPLACE TEMP VIEW splink_patterns AS SELECT pattern AS unique_id, * FROM patterns"
    ).fetchall()
    return str(_predictions(DuckDBAPI(con), settings).physical_name)


def on_spark(con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> str:
    """A `Backend` on Spark. Data pass as Arrow tables."""
    from pyspark.sql import SparkSession
    from splink.backends.spark import SparkAPI

    session = (
        SparkSession.builder.appName("readiness linkage")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.maxResultSize", "0")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    api = SparkAPI(spark_session=session, break_lineage_method="persist", register_udfs_automatically=False)
    columns = {name: kind for name, kind, *_ in con.execute("DESCRIBE patterns").fetchall()}
    signed = ", ".join(_signed(name, kind) for name, kind in columns.items())
    in_pairs = "pattern IN (SELECT join_key_l FROM pairs UNION ALL SELECT join_key_r FROM pairs)"
    patterns = con.sql(f"SELECT pattern AS unique_id, {signed} FROM patterns WHERE {in_pairs}").to_arrow_table()
    session.createDataFrame(patterns).createOrReplaceTempView("splink_patterns")
    session.createDataFrame(con.sql("FROM pairs").to_arrow_table()).createOrReplaceTempView("pairs")
    found = _predictions(api, settings)
    con.register("predicted", found.as_spark_dataframe().toArrow())
    con.execute("CREATE OR REPLACE TABLE predictions AS FROM predicted").fetchall()
    con.unregister("predicted")
    session.catalog.clearCache()
    return "predictions"


def _predictions(api: Any, settings: dict[str, Any]) -> Any:
    """Splink's weights of `pairs` over `splink_patterns`, both tables of the backend."""
    from splink import Linker

    linker = Linker(
        api.register("splink_patterns", dataset_display_name="patterns"),
        settings,
        log_level=40,
        validate_settings=False,
    )
    linker.table_management.register_blocked_pairs_for_predict(api.register("pairs"))
    return linker.inference.predict(warning_mode="never")


def _signed(name: str, kind: str) -> str:
    """Spark has no unsigned numbers: 64 bits are read as signed ones, so that equal stays equal; fewer bits fit."""
    if kind == "UBIGINT":
        wrapped = f"({name}::HUGEINT - (({name} >> 63)::HUGEINT << 64))::BIGINT"
        return f"{wrapped} AS {name}"
    return f"{name}::BIGINT AS {name}" if kind.startswith("U") and kind.endswith("INT") else name
