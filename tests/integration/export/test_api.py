"""The API: its files beside the bundles, and the HTTP service, which serves the same documents and answers queries."""

import contextlib
import csv
import datetime as dt
import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import duckdb
import jsonschema
import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from ndl_export.analyst_db.facts import find_newest_release, query_current
from ndl_export.api import shapes
from ndl_export.bundle.make import write_bundle
from ndl_export.bundle.release_directory import find_current_version, refresh, withdraw
from ndl_export.facts.known_publishers import UnknownPublisher
from ndl_export.facts.release_facts import read_releases
from ndl_export.serve import queries, server
from ndl_export.serve.service import LONGEST_QUERY, MOST_FIGURES, create_app
from ndl_export.tables import TABLES
from ndl_export.tables.schema import SYMBOLS
from tests.support import PROJECT, find_free_port, waiting
from tests.support.export import bundles, fake_release, requested

FIRST, SECOND = "2026.11.0", "2027.02.0"
ROOT = "/api/v1"
DAY, REASON = dt.date(2027, 3, 5), "an extract was of another year"


@pytest.fixture(scope="module")
def client(two_releases: Path) -> TestClient:
    return TestClient(create_app(queries.Latest(two_releases)))


@pytest.fixture
def own(two_releases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(queries, "_SECONDS_BETWEEN_LOOKS", 0.0)
    return Path(shutil.copytree(two_releases, tmp_path / "release", symlinks=True))


def ask(client: TestClient, query: str) -> dict[str, Any]:
    answer = client.get(f"{ROOT}/figures?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_serves_what_the_files_say_byte_for_byte(client: TestClient, two_releases: Path) -> None:
    root = two_releases / "api" / "v1"
    one_area = [f"releases/{SECOND}/{table}/E08000035.json" for table in TABLES]
    names = [*one_area, f"releases/{FIRST}/gld_headline/Pilot councils.json", f"releases/{FIRST}/index.json"]
    names += [f"{name}.json" for name in ("index", "releases", "tables", "areas", "cohorts", "schemas/figure")]
    for name in names:
        answer = client.get(f"{ROOT}/{quote(name)}")
        assert (answer.status_code, answer.content) == (200, (root / name).read_bytes()), name
        assert answer.headers["content-type"] == "application/json"


def test_its_description_is_valid_and_its_page_needs_no_other_host(client: TestClient) -> None:
    described = client.get(f"{ROOT}/openapi.json").json()
    validate(described)
    assert described["openapi"].startswith("3.1")
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert all(path in answer.text for path in described["paths"])
    assert all(word not in answer.text for word in ("<script", "<link", "<img", "src=", "@import"))
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_its_description_lists_the_refusals_that_there_are(client: TestClient) -> None:
    described = client.get(f"{ROOT}/openapi.json").json()
    stated = {path: methods["get"]["responses"] for path, methods in described["paths"].items()}
    for operation, path, status in (
        ("releases/{version}/index.json", "releases/2020.01.0/index.json", 404),
        ("releases/{version}/{table}/{area}.json", f"releases/{FIRST}/gld_headline/E1.json", 404),
        ("schemas/{name}.json", "schemas/none.json", 404),
        ("figures", "figures?area=Leads", 422),
        ("figures", f"figures?area={'x' * LONGEST_QUERY}", 414),
    ):
        answer = client.get(f"{ROOT}/{path}")
        assert answer.status_code == status
        assert answer.headers["content-type"] in stated[f"{ROOT}/{operation}"][str(status)]["content"]
    assert "404" not in stated[f"{ROOT}/figures"]
    assert "422" not in stated[f"{ROOT}/index.json"]


def test_every_answer_says_whether_its_signature_was_checked(two_releases: Path, tmp_path: Path) -> None:
    latest = queries.Latest(two_releases, known=tmp_path / "known.json")
    answers = [TestClient(create_app(latest)).get(f"{ROOT}/{path}") for path in ("index.json", "figures?area=Leads")]
    assert all(each.headers["readiness-signature"].startswith("Signature not checked") for each in answers)
    with pytest.raises(UnknownPublisher, match="not with the one that was given"):
        queries.Latest(two_releases, ["0" * 64]).get()


def test_connections_that_send_nothing_or_little_are_closed_and_hold_nobody_up(
    two_releases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HEAD_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        app = create_app(queries.Latest(two_releases))
        threading.Thread(target=server.run, args=(app, listening), daemon=True).start()
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for each in idle[50:]:
            each.sendall(b"GET / HTTP/1.1\r\nX: ")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{ROOT}/index.json", timeout=60) as answer:
            assert answer.status == 200
        for each in idle:
            each.settimeout(waiting.PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
            each.close()


def test_figures_by_table_area_measure_cohort_and_filter(client: TestClient) -> None:
    query = "table=gld_headline&area=leeds&measure=gld_children_percent&cohort=2024/25&sex=female&breakdown=Total"
    answer = ask(client, query)
    shapes.Figures.model_validate(answer)
    assert answer["total"] == 1
    (figure,) = answer["figures"]
    assert (figure["release"], figure["area_code"], figure["filters"]["sex"]) == (SECOND, "E08000035", "Female")
    assert [about["release"] for about in answer["about"]] == [SECOND]
    assert answer["about"][0]["citation"].startswith("A combined authority (2027). ")
    older = ask(client, f"{query}&release={FIRST}")["figures"]
    assert [each["release"] for each in older] == [FIRST]
    assert [each["release"] for each in ask(client, f"{query}&release=all")["figures"]] == [FIRST, SECOND]
    both = ask(client, query + "&sex=male&area=E08000015")["figures"]
    assert {(each["area_name"], each["filters"]["sex"]) for each in both} == {
        (area, sex) for area in ("Leeds", "Wirral") for sex in ("Female", "Male")
    }


def test_figures_by_flag(client: TestClient) -> None:
    counted = {flag: ask(client, f"flag={flag}&limit=1")["total"] for flag in ("none", "u", "z", "withheld", "x")}
    everything = ask(client, "limit=1")["total"]
    assert counted["x"] == 0
    assert sum(counted.values()) + ask(client, "flag=linkage&limit=1")["total"] == everything
    for flag, total in counted.items():
        found = ask(client, f"flag={flag}&limit={MOST_FIGURES}")["figures"]
        assert len(found) == min(total, MOST_FIGURES)
        assert {each["flag"] for each in found} <= {None if flag == "none" else flag}


def test_pages_together_are_every_figure_once(client: TestClient, two_releases: Path) -> None:
    found, following = [], "figures?table=gld_headline&area=E08000035&limit=50"
    while following:
        answer = client.get(f"{ROOT}/{following}").json()
        found += answer["figures"]
        following = answer["next"]
    path = two_releases / "api" / "v1" / "releases" / SECOND / "gld_headline" / "E08000035.json"
    assert found == json.loads(path.read_bytes())["figures"]
    beyond = ask(client, "table=gld_headline&offset=1000000")
    assert (beyond["figures"], beyond["next"]) == ([], None)
    assert beyond["total"] == ask(client, "table=gld_headline")["total"] > 0


@pytest.mark.parametrize("by", ["format", "header"])
def test_csv_has_the_same_figures_and_the_notice_in_each_row(client: TestClient, by: str) -> None:
    query = "table=gld_headline&area=E08000035&limit=40"
    more = {"format": ("&format=csv", {}), "header": ("", {"Accept": "text/csv"})}[by]
    answer = client.get(f"{ROOT}/figures?{query}{more[0]}", headers=more[1])
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    wanted = ask(client, query)
    assert answer.headers["x-total-count"] == str(wanted["total"])
    assert 'rel="license"' in answer.headers["link"]
    assert 'rel="next"' in answer.headers["link"]
    for row, figure in zip(rows, wanted["figures"], strict=True):
        assert row.pop("notice") == (wanted["about"][0]["notice"] or "")
        flat = {key: value for key, value in figure.items() if key != "filters"} | figure["filters"]
        told = {key: "" if value is None else json.dumps(value).strip('"') for key, value in flat.items()}
        assert row == told


def test_a_copy_is_checked_and_not_sent_again(client: TestClient) -> None:
    for address in (f"{ROOT}/index.json", f"{ROOT}/figures?table=gld_headline&limit=1", "/"):
        first = client.get(address)
        assert first.headers["cache-control"] == "no-cache"
        again = client.get(address, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_heads_and_other_sites_are_answered_and_nothing_is_written(client: TestClient) -> None:
    whole, head = (getattr(client, method)(f"{ROOT}/tables.json") for method in ("get", "head"))
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", whole.headers["etag"])
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert (whole.headers["content-encoding"], int(whole.headers["content-length"]) < len(whole.content)) == (
        "gzip",
        True,
    )
    plain = client.get(f"{ROOT}/tables.json", headers={"Accept-Encoding": "identity"})
    assert (plain.headers["content-length"], plain.content) == (str(len(whole.content)), whole.content)
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"{ROOT}/index.json", headers={"Origin": "https://a.example"}).headers[
        "access-control-allow-origin"
    ] == ("*")
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    assert client.options(f"{ROOT}/figures", headers=asked).status_code == 200
    refused = client.options(f"{ROOT}/figures", headers=asked | {"Access-Control-Request-Method": "POST"})
    assert refused.status_code == 400
    for method in ("post", "put", "patch", "delete"):
        for address in (f"{ROOT}/figures", f"{ROOT}/index.json", f"{ROOT}/releases/{FIRST}/index.json", "/"):
            assert getattr(client, method)(address).status_code == 405


@pytest.mark.parametrize(
    ("query", "status", "nearest"),
    [
        ("table=gld_headlines", 422, "gld_headline"),
        ("area=Leads", 422, "Leeds"),
        ("measure=gld_percent", 422, "gld_children_percent"),
        ("sexes=Female", 422, "sex"),
        ("sex=Femal", 422, "Female"),
        ("cohort=2025/26", 422, "2024/25"),
        ("release=2026.11.1", 422, FIRST),
        ("flag=y", 422, None),
        ("limit=0", 422, None),
        (f"limit={MOST_FIGURES + 1}", 422, None),
        ("limit=ten", 422, None),
        ("offset=-1", 422, None),
        ("format=xml", 422, None),
        ("&".join(["sex=Female"] * 51) + "&".join(["&area=Leeds"] * 51), 422, None),
        (f"area={'x' * LONGEST_QUERY}", 414, None),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(
    client: TestClient, query: str, status: int, nearest: str | None
) -> None:
    answer = client.get(f"{ROOT}/figures?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = shapes.Problem.model_validate(answer.json())
    assert problem.status == status
    assert nearest in (*problem.nearest, None)


ATTACKS = (
    "' OR 1=1 --",
    '"; DROP TABLE figures; --',
    "x') UNION SELECT content FROM read_text('/etc/passwd') --",
    "$v0",
    "{place}",
    "Leeds'||(SELECT 1)||'",
    "%00",
    "../../../etc/passwd",
    "<script>alert(1)</script>",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_words_of_a_stranger_are_never_sql_nor_repeated(client: TestClient, attack: str) -> None:
    before = ask(client, "limit=1")["total"]
    for name in ("release", "table", "measure", "area", "cohort", "flag", "sex", "breakdown", attack):
        answer = client.get(f"{ROOT}/figures", params={name: attack})
        assert answer.status_code == 422, name
        assert attack not in answer.text
    for name in ("limit", "offset", "format"):
        assert client.get(f"{ROOT}/figures", params={name: attack}).status_code == 422
    assert ask(client, "limit=1")["total"] == before


@pytest.mark.parametrize(
    "path",
    [
        "releases/..%2f..%2f2026.11.0%2fdatapackage.json",
        f"releases/{FIRST}/gld_headline/..%2f..%2f..%2f..%2fwithdrawn.json",
        f"releases/{FIRST}/..%2f..%2f..%2f2026.11.0/datapackage.json",
        f"releases/{FIRST}/gld_headline/%2e%2e%2f%2e%2e%2findex.json",
        f"releases/{FIRST}/../../../../etc/passwd",
        f"releases/{FIRST}/gld_headlin/E08000035.json",
        f"releases/{FIRST}/gld_headline/E08000036.json",
        f"releases/{FIRST}/gld_headline/%27%20OR%201%3D1.json",
        "releases/2026.11.9/index.json",
        "schemas/..%2findex.json",
        ".made_from.json",
        "releases/" + "x" * 300,
    ],
)
def test_no_path_leads_out_of_the_figures(client: TestClient, path: str) -> None:
    answer = client.get(f"{ROOT}/{path}")
    assert answer.status_code in (404, 414)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_database_opens_no_file_and_cannot_be_told_to(client: TestClient, two_releases: Path) -> None:
    connection = queries.Snapshot(two_releases)._connection
    for statement in ("FROM read_text('/etc/passwd')", "SET enable_external_access = true", "INSTALL httpfs"):
        with pytest.raises(duckdb.Error):
            connection.execute(statement).fetchall()


def test_a_withdrawal_is_noticed_without_a_restart(own: Path) -> None:
    client = TestClient(create_app(queries.Latest(own)))
    query = "table=gld_headline&area=Leeds&limit=1"
    before = client.get(f"{ROOT}/figures?{query}")
    assert before.json()["figures"][0]["release"] == SECOND
    withdraw(own, SECOND, REASON, DAY)
    after = client.get(f"{ROOT}/figures?{query}", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.json()["figures"][0]["release"]) == (200, FIRST)
    gone = ask(client, f"{query}&release={SECOND}")
    assert gone["about"][0]["withdrawal"]["reason"] == REASON
    told = client.get(f"{ROOT}/figures?{query}&release={SECOND}&format=csv").text.splitlines()[1]
    assert f"Release {SECOND} was withdrawn on 2027-03-05: {REASON}." in told
    withdraw(own, FIRST, REASON, DAY)
    assert ask(client, query)["total"] == 0
    (own / "withdrawn.json").write_text("[")
    assert ask(client, query)["total"] == 0, "what cannot be read does not stop what was read before"


def test_before_the_first_release_it_says_so(own: Path, tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    client = TestClient(create_app(queries.Latest(place)))
    assert client.get(f"{ROOT}/index.json").status_code == 503
    assert client.get("/").status_code == 200
    shutil.copytree(own / FIRST, place / FIRST)
    assert client.get(f"{ROOT}/index.json").json()["current_release"] == FIRST


def test_the_examples_of_the_page_can_be_typed(client: TestClient) -> None:
    page = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    typed = re.findall(r"curl -s '?https?://[^/]+(?:/readiness)?(/api/v1/[^'\n]+)", page)
    assert len(typed) == 4
    answers = [client.get(address) for address in typed]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422]
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    shapes.Figure.model_validate(shown[0])
    shapes.Figures.model_validate(shown[1])
    assert shown[2] == answers[3].json()
    assert answers[2].text.splitlines()[0] in page


def test_the_command_serves_until_it_is_stopped(two_releases: Path) -> None:
    port = find_free_port()
    start = "from pipelines.cli import main; main()"
    command = [sys.executable, "-c", start, "serve", str(two_releases), "--port", str(port)]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as served:
        try:
            address = f"http://127.0.0.1:{port}{ROOT}/figures?limit=1"

            def answers() -> bool:
                assert served.poll() is None
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)):
                        return False
                with urllib.request.urlopen(address, timeout=60) as answer:
                    return bool(json.load(answer)["total"])

            waiting.wait_until(answers)
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{served.pid}/status").read_text())
            assert peak
            assert int(peak[1]) < 400_000
            taken = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
            assert (taken.returncode, "nothing can listen at 127.0.0.1" in taken.stderr) == (1, True)
        finally:
            served.terminate()


def api(directory: Path) -> Path:
    return directory / "api" / "v1"


def read(directory: Path, name: str) -> Any:
    return json.loads((api(directory) / name).read_bytes())


def states(folder: Path) -> dict[str, tuple[int, str]]:
    """When each file was written, and the hash of its content."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def figures(directory: Path, version: str) -> list[dict[str, Any]]:
    files = sorted((api(directory) / "releases" / version).glob("*/*.json"))
    return [figure for file in files for figure in json.loads(file.read_bytes())["figures"]]


def test_every_document_meets_its_schema(incomplete: Path) -> None:
    directory = incomplete.parent
    schemas = {name: read(directory, f"schemas/{name}.json") for name in shapes.DOCUMENTS}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    plain = ("index", "releases", "tables", "areas", "cohorts")
    found = {name: [read(directory, f"{name}.json")] for name in plain}
    found["release-files"] = [read(directory, f"releases/{FIRST}/index.json")]
    # Halton has not sent the Profile, so each of its figures has a flag.
    found["figures-of-area"] = [read(directory, f"releases/{FIRST}/{name}/E06000006.json") for name in TABLES]
    for name, documents in found.items():
        validator = jsonschema.Draft202012Validator(schemas[name])
        assert [list(validator.iter_errors(each)) for each in documents] == [[]] * len(documents), name
    one = figures(directory, FIRST)[0]
    jsonschema.Draft202012Validator(schemas["figure"]).validate(one)
    assert list(one) == list(shapes.Figure.model_fields)


def test_the_description_of_the_interface_is_valid_and_complete(release_dir: Path) -> None:
    described = read(release_dir, "openapi.json")
    validate(described)
    assert described["openapi"].startswith("3.1")
    written = {path.relative_to(api(release_dir)).as_posix() for path in api(release_dir).rglob("*.json")}
    patterns = [path[1:].split("/") for path in described["paths"]]
    for name in written - {".made_from.json", "openapi.json"} - {f"schemas/{name}.json" for name in shapes.DOCUMENTS}:
        parts = name.split("/")
        assert any(
            len(parts) == len(each)
            and all(wanted.startswith("{") or wanted == part for wanted, part in zip(each, parts, strict=True))
            for each in patterns
        ), name


def test_every_figure_of_the_bundle_is_there_once_with_the_number_of_its_row(incomplete: Path) -> None:
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for each in figures(incomplete.parent, FIRST):
        assert found.setdefault((each["table"], each["row"]), {}).setdefault(each["measure"], each) is each
    flags: Counter[str | None] = Counter()
    for name, table in TABLES.items():
        with (incomplete / f"{name}_all_rows.csv").open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=1):
                of_row = found.pop((name, number))
                assert list(of_row) == [measure.name for measure in table.measures]
                for measure, figure in of_row.items():
                    for key, column in (("value", ""), ("lower", "_lower_ci"), ("upper", "_upper_ci")):
                        assert figure[key] == (float(cell) if (cell := row[measure + column]) else None)
                    assert figure["flag"] == (row[f"{measure}_flag"] or None)
                    assert figure["flag_meaning"] == SYMBOLS.get(figure["flag"])
                    assert figure["filters"] == {entry.name: row[entry.name] for entry in table.filters}
                    assert all(figure[key] == row[key] for key in ("time_period", "area_code", "area_name"))
                    assert figure["series_break"] == (row["series_break"] == "b")
                    flags[figure["flag"]] += 1
    assert found == {}
    assert {None, "u", "x", "z"} <= flags.keys()


def test_links_lead_to_files_the_list_has_the_hash_of_all_and_the_catalogue_has_the_service(two_releases: Path) -> None:
    index, root = read(two_releases, "index.json"), api(two_releases)
    for link in index["links"].values():
        assert (root / link).is_file(), link
    for release in read(two_releases, "releases.json")["releases"]:
        sums = (root / release["bundle"] / "SHA256SUMS").read_bytes()
        assert release["sha256sums"] == hashlib.sha256(sums).hexdigest()
        listed = json.loads((root / release["figures"]).read_bytes())
        folder = (root / release["figures"]).parent
        files = {unquote(file) for table in listed["files"] for file in table["areas"].values()}
        assert files == {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}
        total = hashlib.sha256()
        for name in sorted(files):
            total.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
        assert listed["sha256"] == total.hexdigest()
    catalogue = json.loads((two_releases / "catalogue.jsonld").read_bytes())["@graph"][0]
    service, address = catalogue["dcat:service"], fake_release.fake_facts().address
    assert service["@type"] == "dcat:DataService"
    assert service["dcat:endpointURL"]["@id"] == f"{address}/api/v1/index.json"
    assert service["dcat:endpointDescription"]["@id"] == f"{address}/api/v1/openapi.json"
    assert service["dcat:servesDataset"] == [{"@id": f"{address}/{version}"} for version in (FIRST, SECOND)]
    for each in ("dcat:endpointURL", "dcat:endpointDescription"):
        assert (two_releases / service[each]["@id"].removeprefix(f"{address}/")).is_file()
    # What is current is decided where it always is.
    listed, found = read(two_releases, "releases.json"), read_releases(two_releases)
    assert listed["current"] == str(find_current_version(two_releases)) == find_newest_release(found).version == SECOND
    assert {each["release"]: each["current_for"] for each in listed["releases"]} == {FIRST: [], SECOND: ["202425"]}
    current = {each["code"]: each["current_release"] for each in read(two_releases, "cohorts.json")["cohorts"]}
    assert current == query_current(found)


def test_nothing_is_written_again_and_made_anew_it_has_the_same_bytes(own: Path) -> None:
    """A damaged file, or one too many, goes as well."""
    before = states(own / "api")
    refresh(own)
    assert states(own / "api") == before
    (api(own) / ".made_from.json").unlink()
    refresh(own)
    after = states(own / "api")
    assert {name: state for name, state in after.items() if state != before[name]}.keys() == {"v1/.made_from.json"}
    folder, content = api(own) / "releases" / FIRST, {name: digest for name, (_, digest) in before.items()}
    (folder / "gld_headline" / "E08000035.json").write_text("{}")
    (folder / "gld_headline" / "E00000000.json").write_text("{}")
    shutil.copytree(folder, folder.parent / "2020.01.0")
    (api(own) / ".made_from.json").write_text("[")
    refresh(own)
    (folder / "gld_headline" / "E08000035.json").unlink()
    (api(own) / "tables.json").write_text("{}")
    refresh(own)
    assert {name: digest for name, (_, digest) in states(own / "api").items()} == content
    shutil.rmtree(own / "api")
    refresh(own)
    assert {name: digest for name, (_, digest) in states(own / "api").items()} == content
    assert {path.stat().st_mode & 0o777 for path in (own / "api").rglob("*")} == {0o755, 0o644}


@pytest.mark.slow
def test_a_further_release_leaves_the_files_of_older_ones_as_they_were(release_dir: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(release_dir, tmp_path / "release", symlinks=True))
    before = states(api(own) / "releases" / FIRST)
    facts = requested.build_facts_with((requested.SEN,))
    write_bundle(own, facts, fake_release.fake_tables(requested=facts.on_request.tables), bundles.KEY)
    assert states(api(own) / "releases" / FIRST) == before
    (table,) = [each for each in read(own, "tables.json")["tables"] if each["name"] == requested.SEN.name]
    assert table["releases"] == [facts.version]
    assert table["on_request"].startswith("On request: University of Leeds, Children's Centre asked for it")
    asked = read(own, f"releases/{facts.version}/{requested.SEN.name}/E08000035.json")
    assert {figure["table"] for figure in asked["figures"]} == {requested.SEN.name}


def test_a_withdrawn_release_says_so_at_the_top_of_each_file(own: Path) -> None:
    before = states(api(own) / "releases" / FIRST)
    withdraw(own, SECOND, REASON, DAY)
    sentence = f"Release {SECOND} was withdrawn on 2027-03-05: {REASON}."
    assert states(api(own) / "releases" / FIRST) == before
    files = list((api(own) / "releases" / SECOND).rglob("*.json"))
    assert len(files) > 100
    for path in files:
        document = json.loads(path.read_bytes())
        assert document["withdrawal"] == {"date": "2027-03-05", "reason": REASON, "sentence": sentence}
        assert list(document)[:2] == ["notice", "withdrawal"]
    assert read(own, "index.json")["current_release"] == FIRST
    assert read(own, "cohorts.json")["cohorts"][0]["current_release"] == FIRST
    listed = {each["release"]: each for each in read(own, "releases.json")["releases"]}
    assert (listed[SECOND]["withdrawal"]["sentence"], listed[SECOND]["current_for"]) == (sentence, [])
    withdraw(own, FIRST, REASON, DAY)
    assert read(own, "index.json")["current_release"] is None
    assert read(own, "cohorts.json")["cohorts"][0]["current_release"] is None
    assert len(figures(own, FIRST)) == len(figures(own, SECOND))
