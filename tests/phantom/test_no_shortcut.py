"""Only the signs reveal the class, and the signs are as hard as in the study: small versions of the benchmarks' audits.

Each audit must also find a shortcut that was planted.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from spinefx.imaging.volume import Volume
from spinefx.phantom import cohort
from spinefx.phantom.case import RenderedCase, render_case, truth_of
from spinefx.phantom.random_streams import CaseDraw, PhantomSettings, draw_case
from spinefx.phantom.vertebra import Deformity
from spinefx.statistics.accuracy import Roc
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

SETTINGS = PhantomSettings(patients=500, seed=11)
Floats = NDArray[Any]


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def shortcuts() -> ModuleType:
    return script("phantom_shortcuts")


@pytest.fixture(scope="module")
def draws() -> list[CaseDraw]:
    return [draw_case(SETTINGS, number) for number in range(1, SETTINGS.patients + 1)]


def malignant(draws: list[CaseDraw]) -> NDArray[np.bool_]:
    return np.array([draw.diagnosis is Diagnosis.MALIGNANT for draw in draws])


def assert_only_the_planted_shortcut_is_found(
    shortcuts: ModuleType, features: Floats, planted: Floats, truth: NDArray[np.bool_]
) -> None:
    area, by_chance = shortcuts.areas_by_chance(features, truth)
    assert area <= by_chance.max(), f"the class is predicted with an AUC of {area}"  # one false alarm in a thousand
    found, _ = shortcuts.areas_by_chance(np.where(truth[:, None], planted, features), truth, shuffles=0)
    assert found > 0.9, f"a planted shortcut was found with an AUC of only {found}"


def test_no_drawn_parameter_beside_the_signs_predicts_the_class(shortcuts: ModuleType, draws: list[CaseDraw]) -> None:
    def leaves(value: Any, name: str = "") -> dict[str, float | str]:
        if isinstance(value, Mapping):
            return {key: leaf for part in value for key, leaf in leaves(value[part], f"{name} {part}").items()}
        if isinstance(value, tuple | list):
            return leaves(dict(enumerate(value)), name)
        # None is what a dial draws while it is off.
        return {name: str(value) if value is None or isinstance(value, str) else float(value)}

    told_apart = {"settings", "diagnosis", "lesion", "spots", "healed", "irradiated"}
    drawn = [{key: part for key, part in asdict(draw).items() if key not in told_apart} for draw in draws]
    records = [leaves(one) | {"healed": float(len(draw.healed))} for one, draw in zip(drawn, draws, strict=True)]
    names, table = shortcuts.tabulate(records)
    assert len(names) > 50
    shifted = table + 0.8 * table.std(axis=0) * (np.arange(len(names)) < 12)
    assert_only_the_planted_shortcut_is_found(shortcuts, table, shifted, malignant(draws))


def test_written_headers_do_not_predict_the_class(
    shortcuts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PhantomSettings(patients=200, seed=11)
    draws = [draw_case(settings, number) for number in range(1, settings.patients + 1)]

    def blank(draw: CaseDraw) -> RenderedCase:
        truth = truth_of(draw)
        noise = np.random.default_rng(draw.number).uniform(0, 900, (1, 4, 4))
        found = {name: Volume(noise, truth.affines[name]) for name in ("t1w", "t2w", "stir")}
        return RenderedCase(truth, **found, localizer=(found["t2w"],))

    monkeypatch.setattr(cohort, "render_case", blank)
    cohort.write_cohort(tmp_path / "export", settings)
    records = []
    for draw in draws:
        folders = sorted(part for part in (tmp_path / "export" / draw.patient_id).iterdir() if part.is_dir())
        records.append(shortcuts.header_record({part.name: [*map(dcmread, part.iterdir())] for part in folders}))
    changed = [{**one, "S002_SAG_T2 EchoTime 0": one["S002_SAG_T2 EchoTime 0"] + 14.0} for one in records]
    names, table = shortcuts.tabulate([*records, *changed])
    assert len(names) > 40
    assert not any("UID" in name or "PatientID" in name for name in names)
    assert_only_the_planted_shortcut_is_found(shortcuts, table[:200], table[200:], malignant(draws))


def test_image_corners_do_not_predict_the_class(shortcuts: ModuleType) -> None:
    settings = PhantomSettings(patients=48, malignant=24, seed=3, matrix=96)
    draws = [draw_case(settings, number) for number in range(1, 49)]
    plain, planted = [], []
    for draw in draws:
        few = {name: replace(getattr(draw, name), slices=1, painted=32) for name in ("t1w", "t2w", "stir", "localizer")}
        case = render_case(replace(draw, **few))  # type: ignore[arg-type]
        volumes = {name: getattr(case, name) for name in ("t1w", "t2w", "stir")}
        plain.append(shortcuts.corner_features(volumes))
        noisy = shortcuts.with_noise(volumes, np.random.default_rng(draw.number), times=2.5)
        planted.append(shortcuts.corner_features(noisy))
    assert_only_the_planted_shortcut_is_found(shortcuts, np.array(plain), np.array(planted), malignant(draws))


def test_masks_hide_signs_inside_the_box_and_show_those_outside(shortcuts: ModuleType) -> None:
    draw = replace(draw_case(PhantomSettings(patients=9, seed=2, matrix=96, noise=0), 3), spots=(), healed={})
    none = dict.fromkeys(SIGN_IDENTIFIERS, False)
    sound = replace(draw.lesion, signs=none, marrow="homogeneous", nodules=(), epidural=(0.0, 0.0, 0.0))
    sound = replace(sound, paraspinal_mm=0.0, pedicle=(0.0, 1.0, 0.0), deformity=Deformity())
    inside = replace(sound, marrow="diffuse", residual_fat=0.0, amplitude=1.0, covered=1.05)
    inside = replace(inside, signs={**none, "dark_patch": True, "fluid_necrotic_cleft": True, "dark_line_band": True})
    outside = replace(sound, paraspinal_mm=12.0, pedicle=(1.0, 1.4, 1.0))
    seen = {}
    for name, lesion in (("sound", sound), ("inside", inside), ("outside", outside)):
        case = render_case(replace(draw, lesion=lesion))
        volumes = {series: getattr(case, series) for series in ("t1w", "t2w", "stir")}
        features = (shortcuts.background_features, shortcuts.beside_features)
        seen[name] = [*(feature(case.truth, volumes) for feature in features), volumes["t1w"].array]
    change = {name: [np.abs(new - old) for new, old in zip(seen[name], seen["sound"], strict=True)] for name in seen}
    background, beside, image = change["inside"]
    assert image.max() > 20
    assert background.max() < 0.1
    assert beside.max() < 0.1
    assert change["outside"][1].max() > 0.5


def test_true_signs_are_as_hard_as_in_the_study() -> None:
    difficulty = script("phantom_difficulty")
    every, box = (
        difficulty.sign_model(names, range(1, 13))[:, 0].mean() for names in (SIGN_IDENTIFIERS, difficulty.BOX_SIGNS)
    )
    assert difficulty.ALL_SIGNS[0] <= every <= difficulty.ALL_SIGNS[1]
    assert difficulty.BOX_ALONE[0] <= box <= difficulty.BOX_ALONE[1]
    assert every - box > 0.03
    # The same fit finds nothing in random signs.
    rng = np.random.default_rng(1)
    signs = {f"{n}": {name: bool(rng.random() < 0.5) for name in difficulty.BOX_SIGNS} for n in range(190)}
    truth = {f"{n}": Diagnosis.MALIGNANT if n < 50 else Diagnosis.BENIGN for n in range(190)}
    scores = difficulty.tenfold(signs, truth, difficulty.BOX_SIGNS, seed=1)
    area = Roc.of([scores[case] for case in truth], [truth[case] is Diagnosis.MALIGNANT for case in truth]).auc
    assert area.low < 0.5 < area.high
