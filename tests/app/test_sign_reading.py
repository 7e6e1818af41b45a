"""The signs on the decide page: the numbers of `predict starter`, overruled by the reader, behind the same guards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spinefx.commands.predict import predict
from spinefx.signs.model import STARTER
from spinefx.vocabulary import SIGN_IDENTIFIERS

from .test_deciding import ClientOf, send, zipped


def read_signs(client: TestClient, opened: dict[str, Any], lesion: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/api/decide/signs", json={"study": opened["study"], **lesion})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def overrule(client: TestClient, name: str, answers: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = client.post("/api/decide/signs/overruled", json={"signs": name, "answers": answers, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_page_reads_the_signs_that_predict_reads(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    found = read_signs(client, send(client, zipped(trained.export / trained.stranger)), trained.lesion)
    box = trained.lesion["box"]
    expected = predict(
        type(trained.study)(STARTER),
        trained.export / trained.stranger,
        box=",".join(f"{number:.9f}" for number in (*box["centre_mm"], box["side_mm"])),
        slices=f"{trained.lesion['first_slice']}-{trained.lesion['last_slice']}",
    )
    assert [one["identifier"] for one in found["signs"]] == list(SIGN_IDENTIFIERS)
    assert found["probability"] == pytest.approx(expected["patient"]["probability"], abs=0.02)
    total = found["log_odds_without_signs"] + sum(one["log_odds"] for one in found["signs"])
    assert found["probability"] == pytest.approx(1 / (1 + np.exp(-total)))
    assert "phantom" in found["taught_with"]
    assert found["digest"] == expected["model"]["digests"][0]


def test_a_reader_moves_the_probability_and_takes_it_back(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    found = read_signs(client, send(client, zipped(trained.export / trained.stranger)), trained.lesion)
    sign = "epidural_paraspinal_mass"
    yes, no = (overrule(client, found["name"], {sign: answer}) for answer in "yn")
    assert no["probability"] < yes["probability"]
    assert next(one for one in yes["signs"] if one["identifier"] == sign)["answer"] == "y"
    doubted = overrule(client, found["name"], {sign: "y"}, error_rate=0.5)
    assert doubted["probability"] == pytest.approx(found["probability"])
    unknown = overrule(client, found["name"], {sign: "u"})
    assert next(one for one in unknown["signs"] if one["identifier"] == sign)["probability"] is None
    assert overrule(client, found["name"], {})["probability"] == pytest.approx(found["probability"])


def test_a_box_beside_the_vertebra_gets_no_number(client_of: ClientOf, trained: Any) -> None:
    client = client_of(trained.study)
    opened = send(client, zipped(trained.export / trained.stranger))
    left, posterior, superior = trained.lesion["box"]["centre_mm"]
    missed = trained.lesion | {"box": trained.lesion["box"] | {"centre_mm": [left, posterior + 35, superior]}}
    answer = read_signs(client, opened, missed)
    assert set(answer) == {"cannot_tell"}
    assert answer["cannot_tell"]["remedy"]


@pytest.mark.parametrize(
    ("answers", "more"),
    [({"nose": "y"}, {}), ({"nodular_lesion": "maybe"}, {}), ({"nodular_lesion": "y"}, {"error_rate": 0.7})],
)
def test_scores_that_make_no_sense_are_refused(
    client_of: ClientOf, trained: Any, answers: dict[str, str], more: dict[str, Any]
) -> None:
    client = client_of(trained.study)
    found = read_signs(client, send(client, zipped(trained.export / trained.stranger)), trained.lesion)
    answer = client.post("/api/decide/signs/overruled", json={"signs": found["name"], "answers": answers, **more})
    assert 400 <= answer.status_code < 500
    assert answer.json()["message"]


def test_signs_that_nobody_read_cannot_be_overruled(client_of: ClientOf, trained: Any) -> None:
    answer = client_of(trained.study).post("/api/decide/signs/overruled", json={"signs": "x" * 16, "answers": {}})
    assert 400 <= answer.status_code < 500
