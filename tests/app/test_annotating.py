"""Annotators' boxes: each has a row of its own and never overwrites another page's change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as some

from spinefx.app.access import add_user
from spinefx.app.users import Role, User, new_token, token_digest
from spinefx.cases.lesion import Box, box_agreement
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.localisation.spine import Convention, LocatedSpine, LocatedVertebra
from spinefx.vocabulary import VOXEL_DIGEST
from spinefx.workspace.layout import Workspace, read_json
from spinefx.workspace.records import read_cohort, read_lesions, sidecar_path

AXES = np.eye(3)[:, [0, 2, 1]]


def first_box(study: Path) -> dict[str, Any]:
    record = read_lesions(Workspace.open(study))[0]
    lesion = record.lesion
    return {
        "box": {"centre_mm": list(lesion.box.centre_mm), "side_mm": lesion.box.side_mm},
        "first_slice": lesion.first_slice,
        "last_slice": lesion.last_slice,
        "level": "L1",
    }


def test_pages_number_slices_as_the_tables_do(study: Path) -> None:
    workspace = Workspace.open(study)
    for folder in workspace.participant_folders():
        stored = read_nifti(workspace.image(folder.name, "T2w"))
        np.testing.assert_allclose(stored.to_sagittal().affine, stored.affine, atol=1e-6)


def test_a_saved_box_leaves_the_tables_own_and_the_cohort_unchanged(
    client_of: Callable[..., TestClient], study: Path
) -> None:
    client, before = client_of(study), read_cohort(Workspace.open(study))
    wanted = first_box(study)
    wanted["box"]["centre_mm"][2] += 3
    saved = client.put("/api/annotate/sub-001/lesion", json=wanted | {"revision": "none"})
    assert saved.status_code == 200
    rows = [record for record in read_lesions(Workspace.open(study)) if record.participant_id == "sub-001"]
    assert [record.annotator for record in rows] == ["", "local"]
    assert rows[1].lesion.box.centre_mm == pytest.approx(wanted["box"]["centre_mm"], abs=0.51)
    assert read_cohort(Workspace.open(study)).cases == before.cases
    worklist = client.get("/api/annotate/worklist").json()["rows"]
    assert [row["status"] for row in worklist] == ["marked", *["marked by others"] * 5]
    again = client.get("/api/annotate/sub-001").json()["own"]
    assert again == saved.json() == client.get("/api/annotate/sub-001/lesion").json()
    (compared,) = client.get("/api/annotate/agreement").json()["rows"]
    assert compared["distance_mm"] == pytest.approx(3, abs=0.01)
    side = wanted["box"]["side_mm"]
    assert compared["iou"] == pytest.approx((side - 3) / (side + 3), abs=0.01)


def test_a_box_marked_on_an_outer_slice_lies_on_the_lesions_middle(
    client_of: Callable[..., TestClient], study: Path
) -> None:
    client, wanted = client_of(study), first_box(study)
    t2w = read_nifti(Workspace.open(study).image("sub-001", "T2w"))
    outer = t2w.to_index(wanted["box"]["centre_mm"]) + np.array([4, 0, 0])
    wanted["box"]["centre_mm"] = t2w.to_mm(outer).tolist()
    client.put("/api/annotate/sub-001/lesion", json=wanted | {"revision": "none"})
    lesion = read_lesions(Workspace.open(study))[-1].lesion
    slice_, row, column = t2w.to_index(lesion.box.centre_mm)
    assert slice_ == pytest.approx((lesion.first_slice + lesion.last_slice) / 2, abs=0.01)
    assert (row, column) == pytest.approx(outer[1:], abs=0.01)


def test_a_second_page_cannot_overwrite_what_it_has_not_seen(client_of: Callable[..., TestClient], study: Path) -> None:
    client, wanted = client_of(study), first_box(study)
    first = client.put("/api/annotate/sub-001/lesion", json=wanted | {"revision": "none"}).json()
    stale = client.put("/api/annotate/sub-001/lesion", json=wanted | {"level": "L2", "revision": "none"})
    assert stale.status_code == 409
    assert stale.json()["error"] == "StaleError"
    assert read_lesions(Workspace.open(study))[-1].lesion.level == "L1"
    fresh = client.put("/api/annotate/sub-001/lesion", json=wanted | {"level": "L2", "revision": first["revision"]})
    assert fresh.status_code == 200
    gone = client.request("DELETE", "/api/annotate/sub-001/lesion", json={"revision": fresh.json()["revision"]})
    assert gone.json() == {"lesion": None, "revision": "none"}
    assert len(read_lesions(Workspace.open(study))) == 6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"first_slice": 9, "last_slice": 3}, "BoxError"),
        ({"last_slice": 400}, "BoxError"),
        ({"level": "X9"}, "BoxError"),
        ({"box": {"centre_mm": [0, 0, 0], "side_mm": 4000}}, "BoxError"),
        ({"box": {"centre_mm": [0, 0, "NaN"], "side_mm": 40}}, "InputError"),
        ({"box": {"centre_mm": [0, 0], "side_mm": 40}}, "InputError"),
        ({"first_slice": -1}, "InputError"),
        ({"annotator": "someone else"}, "InputError"),
    ],
)
def test_an_impossible_lesion_is_refused_by_name_and_not_stored(
    client_of: Callable[..., TestClient], study: Path, change: dict[str, Any], named: str
) -> None:
    client, before = client_of(study), (study / "annotations" / "lesions.tsv").read_bytes()
    answer = client.put("/api/annotate/sub-001/lesion", json=first_box(study) | {"revision": "none"} | change)
    assert answer.status_code == 422
    assert answer.json()["error"] == named
    assert (study / "annotations" / "lesions.tsv").read_bytes() == before


@pytest.mark.parametrize("path", ["sub-999", "..%2F..%2Fetc", "sub-001%2F..%2Fsub-002", "sub-001%00"])
def test_an_unknown_participant_is_refused(client_of: Callable[..., TestClient], study: Path, path: str) -> None:
    answer = client_of(study).get(f"/api/annotate/{path}")
    assert answer.status_code in {403, 409, 422}
    assert "etc" not in answer.text


def test_showing_other_boxes_and_proposals_is_logged(client_of: Callable[..., TestClient], study: Path) -> None:
    workspace = Workspace.open(study)
    table = workspace.lesions_table.read_text(encoding="utf-8")
    workspace.proposals_table.write_text(table.replace("\tn/a\n", "\tlocaliser\n"), encoding="utf-8")
    client = client_of(study)
    rows = client.get("/api/annotate/sub-002/others").json()["rows"]
    assert [(row["kind"], row["by"]) for row in rows] == [("annotator", "the cohort's table"), ("model", "localiser")]
    assert len(client.app.state.server.log.entries(kind="box.others_shown")) == 1  # type: ignore[attr-defined]
    assert len(read_cohort(workspace).cases) == 6


def test_vertebrae_are_proposed_with_names_and_never_stored(
    client_of: Callable[..., TestClient], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = LocatedSpine(
        tuple(
            LocatedVertebra(level, True, 0.93, (0.0, 0.0, 30.0 - 35 * number), 40.0, 2, 9)
            for number, level in enumerate(("L4", "L5", "S1"))
        ),
        Convention.SACRUM,
        notes=("A note.",),
    )
    monkeypatch.setattr("spinefx.app.annotating.shipped_localiser", lambda: lambda volume: (found, None))
    client, before = client_of(study), (study / "annotations" / "lesions.tsv").read_bytes()
    answer = client.get("/api/annotate/sub-002/vertebrae").json()
    assert [row["lesion"]["level"] for row in answer["rows"]] == ["L4", "L5", "S1"]
    assert answer["rows"][0]["by"] == "localiser, L4 (93%)"
    assert {row["kind"] for row in answer["rows"]} == {"model"}
    assert [row["lesion"]["box"]["centre_mm"] for row in answer["rows"]] == [
        list(one.centre_mm) for one in found.vertebrae
    ]
    assert answer["notes"] == [Convention.SACRUM.sentence, "A note."]
    assert (study / "annotations" / "lesions.tsv").read_bytes() == before
    log = client.app.state.server.log  # type: ignore[attr-defined]
    assert len(log.entries(kind="box.vertebrae_shown")) == 1
    assert client.get("/api/annotate/sub-999/vertebrae").status_code in {403, 409, 422}
    assert len(log.entries(kind="box.vertebrae_shown")) == 1


def test_only_the_user_who_opened_an_image_may_fetch_it(client_of: Callable[..., TestClient], study: Path) -> None:
    client = client_of(study)
    clients = []
    for code in ("A1", "A2"):
        token = new_token()
        log = client.app.state.server.log  # type: ignore[attr-defined]
        add_user(log, User(code, frozenset({Role.ANNOTATOR})), token_digest(token), by="test")
        own = TestClient(client.app, base_url="http://127.0.0.1:8765", headers=dict(client.headers))
        own.post("/api/enter", json={"token": token})
        clients.append(own)
    series = clients[0].get("/api/annotate/sub-001").json()["pair"]["t2w"]
    path = f"/api/images/{series['handle']}/slices/0"
    given = clients[0].get(path)
    stored = np.frombuffer(given.content, "<u2").reshape(series["rows"], series["columns"])
    voxels = read_nifti(Workspace.open(study).image("sub-001", "T2w")).to_sagittal().array[0]
    np.testing.assert_allclose(stored * series["slope"] + series["intercept"], voxels, atol=series["slope"] / 2 + 1e-3)
    assert clients[1].get(path).status_code == 403
    assert clients[0].get(f"/api/images/{series['handle']}/slices/99").status_code == 403


def test_a_replaced_image_is_shown_when_the_participant_is_opened_again(
    client_of: Callable[..., TestClient], study: Path
) -> None:
    client, workspace = client_of(study), Workspace.open(study)
    before = client.get("/api/annotate/sub-001").json()
    path = workspace.image("sub-001", "T1w")
    volume, sidecar = read_nifti(path), read_json(sidecar_path(workspace, "sub-001", "T1w"))
    shorter = replace(volume, array=volume.array[1:], affine=volume.affine)
    write_nifti(path, shorter, sidecar | {VOXEL_DIGEST: shorter.voxel_digest})
    after = client.get("/api/annotate/sub-001").json()
    counts = [len(one["pair"]["t1w"]["positions_mm"]) for one in (before, after)]
    assert counts == [len(volume.array), len(volume.array) - 1]
    assert before["about"]["beside"] == ["fat-suppressed (STIR)"]


def test_a_worklist_of_five_thousand_participants(client_of: Callable[..., TestClient], study: Path) -> None:
    for number in range(7, 5001):
        (study / f"sub-{number:03d}").mkdir()
    assert len(client_of(study).get("/api/annotate/worklist").json()["rows"]) == 5000


def test_of_several_boxes_of_a_case_the_first_row_counts(study: Path) -> None:
    workspace = Workspace.open(study)
    records = read_lesions(workspace)
    lines = workspace.lesions_table.read_text(encoding="utf-8").splitlines()
    other = lines[1].replace("\tn/a", "\tsecond").split("\t")
    other[6] = "60"
    workspace.lesions_table.write_text("\n".join([*lines, "\t".join(other)]) + "\n", encoding="utf-8")
    cohort = read_cohort(workspace)
    assert len(cohort.cases) == 6
    assert cohort.cases[0].lesion == records[0].lesion


number = some.floats(-50, 50)


@given(number, number, some.floats(8, 120), some.floats(8, 120))
def test_agreement_equals_that_of_two_squares(across: float, down: float, one_mm: float, other_mm: float) -> None:
    one, other = Box((0, 0, 0), one_mm), Box((3, across, down), other_mm)
    found = box_agreement(one, other, AXES)
    assert found == pytest.approx(box_agreement(other, one, AXES))
    assert found["distance_mm"] == pytest.approx(np.hypot(across, down))
    edges = [
        max(0.0, min(one_mm / 2, shift + other_mm / 2) - max(-one_mm / 2, shift - other_mm / 2))
        for shift in (across, down)
    ]
    shared = edges[0] * edges[1]
    assert found["iou"] == pytest.approx(shared / (one_mm**2 + other_mm**2 - shared))


def test_a_box_agrees_completely_with_itself() -> None:
    found = box_agreement(Box((1, 2, 3), 40), Box((9, 2, 3), 40), np.eye(3))
    assert found == {"iou": 1.0, "distance_mm": 0.0}
