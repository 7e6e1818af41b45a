"""Scripts and identifiers planted wherever text can enter: nothing runs or leaks (docs/threats.md, S6 and S14)."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from fastapi.testclient import TestClient

from spinefx.app.access import invite
from spinefx.app.server import create_app
from spinefx.app.state import ServeSettings
from spinefx.commands.ingest import ingest
from spinefx.phantom.cohort import write_cohort
from spinefx.phantom.random_streams import PhantomSettings
from spinefx.reader_study.feedback import readers_of
from spinefx.workspace.layout import Workspace

# Every planted DICOM text contains this word. It stands for what identifies the patient, so it must never appear again.
SECRET = "ZZPLANTEDZZ"
MARKUP = (
    "<script>window.ran=1;alert(1)</script>",
    "<img src=x onerror=window.ran=1;alert(1)>",
    "<svg/onload=window.ran=1;alert(1)>",
    "javascript:window.ran=1;alert(1)//",
    "\"'><iframe src=javascript:alert(1)>",
)
LENGTHS = {"SH": 16, "LO": 64, "PN": 64, "ST": 1024, "LT": 10240, "UT": 10240, "CS": 16}
PLANTED = (
    "PatientName",
    "InstitutionName",
    "InstitutionAddress",
    "ReferringPhysicianName",
    "StudyDescription",
    "SeriesDescription",
    "ManufacturerModelName",
    "Manufacturer",
    "StationName",
    "OperatorsName",
    "PatientComments",
    "ImageComments",
    "ProtocolName",
    "AccessionNumber",
    "StudyID",
    "RequestedProcedureDescription",
    "OtherPatientIDs",
    "PatientAddress",
    "SoftwareVersions",
    "InstitutionalDepartmentName",
    "PerformingPhysicianName",
    "AdditionalPatientHistory",
    "Occupation",
    "PatientTelephoneNumbers",
    "DerivationDescription",
    "PositionReferenceIndicator",
    "EthnicGroup",
    "DeviceSerialNumber",
    "SequenceName",
)


def text_for(keyword: str, number: int) -> str:
    vr = pydicom.datadict.dictionary_VR(keyword)
    return f"{SECRET} {MARKUP[number % len(MARKUP)]}"[: LENGTHS[vr]]


def plant(file: Path, number: int) -> None:
    """Write markup and the secret into every text field of a DICOM file."""
    dataset = pydicom.dcmread(file)
    with pydicom.config.disable_value_validation():
        for place, keyword in enumerate(PLANTED):
            setattr(dataset, keyword, text_for(keyword, place + number))
        block = dataset.private_block(0x0009, SECRET, create=True)
        block.add_new(0x10, "LO", f"{SECRET} {MARKUP[0]}"[:64])
        dataset.save_as(file)


@pytest.fixture(scope="module")
def hostile_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four ingested phantom patients, hostile in every text."""
    folder = tmp_path_factory.mktemp("planted")
    export = folder / "export"
    write_cohort(export, PhantomSettings(patients=4, seed=5, matrix=128))
    files = sorted(export.rglob("*.dcm"))
    assert len(files) > 100
    for number, file in enumerate(files):
        plant(file, number)
    tables = {name: export / f"{name}.csv" for name in ("signs", "readings")}
    ingest(folder / "study", export, table=export / "cases.csv", **tables)
    return folder / "study"


@pytest.fixture
def hostile(hostile_once: Path, tmp_path: Path) -> Path:
    """The hostile workspace, with markup in its tables as well, as if somebody had edited them."""
    study = Path(shutil.copytree(hostile_once, tmp_path / "study"))
    workspace = Workspace.open(study)
    readers = sorted(readers_of(workspace))
    for table in (workspace.lesions_table, workspace.readings_table, workspace.signs_table):
        text = table.read_text(encoding="utf-8")
        for case, words in zip(("sub-001", "sub-002"), MARKUP, strict=False):
            text = text.replace(f"\n{case}\t", f"\n{words}\t")
        for name, words in zip(readers, MARKUP, strict=False):
            text = text.replace(f"\t{name}\t", f"\t{words}\t")
        table.write_text(text, encoding="utf-8")
    return study


@pytest.fixture
def watched(browser: Any) -> Iterator[tuple[Any, dict[str, list[str]]]]:
    """A page whose whole traffic is recorded."""
    seen: dict[str, list[str]] = {"dialogs": [], "bodies": [], "addresses": [], "errors": [], "broken": []}
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()

    def note(answer: Any) -> None:
        seen["addresses"].append(answer.url)
        seen["bodies"].append(str(answer.headers))
        if "/assets/" not in answer.url:
            seen["bodies"].append(answer.body().decode("utf-8", "replace"))

    page.on("dialog", lambda dialog: (seen["dialogs"].append(dialog.message), dialog.dismiss()))
    page.on("requestfinished", lambda asked: note(asked.response()))
    page.on("request", lambda asked: seen["addresses"].append(asked.url))
    page.on("pageerror", lambda error: seen["errors"].append(str(error)))
    yield page, seen
    context.close()


def pages_of(page: Any, address: str) -> Iterator[str]:
    """Visit all pages: those of the menu, whatever they link to, and two that do not exist."""
    waiting, done = (
        ["/", "/teach/feedback/%3Cimg%20src%3Dx%20onerror%3Dwindow.ran%3D1%3E", "/%3Cscript%3Ewindow.ran=1"],
        [],
    )
    while waiting and len(done) < 40:
        path = waiting.pop(0)
        if path in done:
            continue
        done.append(path)
        page.goto(address + path)
        page.locator("main").first.wait_for()
        page.wait_for_load_state("networkidle")
        links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.getAttribute('href'))")
        assert not [link for link in links if not re.match(r"[/#]", link)], "a link that leads elsewhere"
        # One page of each kind is enough for a long list of cases.
        kinds = {re.sub(r"sub-\d+", "sub", one) for one in [*done, *waiting]}
        for link in links:
            is_page = link.startswith("/") and not link.endswith(".json")
            if is_page and re.sub(r"sub-\d+", "sub", link) not in kinds:
                waiting.append(link)
                kinds.add(re.sub(r"sub-\d+", "sub", link))
        yield path


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.every_browser
def test_planted_scripts_never_run_and_planted_identifiers_never_appear(
    running: Any, hostile: Path, watched: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    page, seen = watched
    shown, stored, visited = "", [], []
    with running(ServeSettings(hostile)) as served:
        for path in pages_of(page, served.address):
            visited.append(path)
            shown += page.locator("body").inner_text() + page.title()
            assert page.evaluate("() => window.ran") is None, path
            planted = page.locator("img[onerror], svg[onload], iframe, script:not([src])")
            assert planted.count() == 0, path
            stored.append(page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])"))
    assert {one.split("/")[1] for one in visited} >= {"", "annotate", "teach"}
    assert len(visited) >= 8
    assert seen["dialogs"] == []
    assert seen["errors"] == []
    assert all(one.startswith((served.address, "data:", "blob:")) for one in seen["addresses"])
    assert MARKUP[0] in shown, "the planted reader's code is shown as text"
    heard = capfd.readouterr()
    kept = [unpacked(path) for path in hostile.rglob("*") if path.is_file()]
    assert len(kept) > 15
    for place, text in {
        "answers": "".join(seen["bodies"]),
        "addresses": "".join(seen["addresses"]),
        "the browser's stores": "".join(stored),
        "the screen": shown,
        "the server's words": heard.out + heard.err + caplog.text,
    }.items():
        assert SECRET not in text, place
        assert "PHANTOM00" not in text, place
    assert not any(word in content for content in kept for word in (SECRET.encode(), b"PHANTOM00"))


def test_an_annotators_code_with_markup_is_refused_and_not_repeated(
    client_of: Callable[..., TestClient], hostile: Path
) -> None:
    workspace, client = Workspace.open(hostile), client_of(hostile)
    kept = workspace.lesions_table.read_text(encoding="utf-8")
    for words in MARKUP:
        workspace.lesions_table.write_text(kept.replace("\tn/a\n", f"\t{words}\n"), encoding="utf-8")
        answer = client.get("/api/annotate/worklist")
        assert answer.json()["error"] == "TableError"
        assert "alert" not in answer.text
    workspace.lesions_table.write_text(kept, encoding="utf-8")
    workspace.proposals_table.write_text(kept.replace("\tn/a\n", f"\t{MARKUP[0]}\n"), encoding="utf-8")
    assert "alert" not in client.get("/api/annotate/sub-001/others").text


def test_a_users_code_cannot_hold_markup(hostile: Path, built_pages: Path) -> None:
    for words in MARKUP:
        with pytest.raises(Exception, match="code"):
            invite(hostile, words, ["reader"])
    state = create_app(ServeSettings(hostile)).state.server
    assert state.log.entries() == []
    state.log.close()
