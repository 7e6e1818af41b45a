"""What speaks of a contrast is heard, wherever it is written and however it is spelt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import LegacyConvertedEnhancedMRImageStorage

from spinefx.errors import SelectionError
from spinefx.imaging.contrast import SequenceHeader, contrast_of, weighting_from_name
from spinefx.imaging.contrast_words import says_nothing, traits_of
from spinefx.imaging.rejection import contradicts, objection_to
from spinefx.imaging.selection import choose_series
from spinefx.imaging.series import Series
from spinefx.imaging.study import Study, open_study
from spinefx.vocabulary import Weighting

from .conftest import sagittal_volume

Write = Callable[..., Path]
BOTH = (Weighting.T1W, Weighting.T2W)


def listed(text: str) -> list[str]:
    return text.split(",")


SUPPRESSED = listed(
    "STIR,sSTIR,TIRM,tirm,T2STIR,TSE_STIR,SPIR,SPAIR,ASPIR,FS,fs,fs2,TSEFS,fatsat,FatSat,Fat Sat,FAT-SAT,fat_sat,"
    "fat sup,fat suppressed,fat-saturated,Fat Saturation,CHESS,ChemSat,PROSET,water excitation,T1TSEFS,T1SAGFS,fettsat,"
    "fettgesättigt,Fettsättigung,fettunterdrückt,FETTSUPPRIMIERT,sat graisse,satgraisse,suppression graisse,"
    "shibou yokusei,脂肪抑制,压脂,supresión grasa,SAT GRASSO"
)
DIXON = listed(
    "FAT,WATER,FAT:,Dixon FAT,dixon_W,DIXON_F,mDIXON W,mDIXON water,Flex FAT,IDEAL water,LAVA fat only,opp phase,"
    "opposed phase,OutPhase:,out of phase,opp,T1DIXONF,dixon opp,Wasser,Fett,graisse,eau,Gegenphase,"
    "opposition de phase,mDIXON,IDEAL,LAVA Flex,t1_tse_dixon_sag_320_F,WATER: T1 FSE Flex,dixon out"
)
ENHANCED = listed(
    "+C,+ C,C+,+Gd,GD,gado,Gadolinium,post,POST GD,post contrast,postcontrast,T1C+,KM,mit KM,nach KM,+KM,Kontrast,"
    "mit Kontrastmittel,T1CE,CE,T1GD,T1KM,Dotarem,Gadovist,avec gado,injecté,con contraste,mdc,zouei,造影,"
    "with contrast,contrast-enhanced"
)
MAPS = listed("ADC,T1 map,T1MAP,T2 map,fat fraction,PDFF,SUB,subtraction,MIP,MPR,dwi,T2*,trace")
ELSEWHERE = listed(
    "KNEE,Knie,genou,hip,Hüfte,shoulder,Schulter,épaule,BRAIN,Hirn,Schädel,cerveau,Kopf,HEAD,liver,Leber,prostate,"
    "breast,Mamma,foot,wrist,hiza,膝,頭部,abdomen,heart"
)
NOTHING = listed(
    "NONE,None,N,NO,no,0,0.0,-,--,n/a,N/A,NA,nil,null,none given,(none),no contrast,NO CONTRAST,no contrast agent,"
    "without,without contrast,w/o,w/o contrast,ohne,ohne KM,kein,keines,sans,"
    "sans contraste,sin contraste,senza mdc,unknown,"
    "False,native,nativ,non-contrast,nashi,造影 なし, ,unenhanced"
)
PLAIN = listed(
    "T1 SAG,SAG T1 FSE,t1_tse_sag_320,T1W_TSE,sT1W_TSE_SAG,T1 TSE sagittal LWS,Sag T1 L-Spine,T1 SAG no FS,T1 nonFS,"
    "T1 ohne KM,T1 SAG W/O CONTRAST,T1 pre contrast,T1 sag nativ,T1 SAG pre GD,T1 SAG HFS,T1 post op,T1 C SPINE,"
    "T1 sag FS off,T1 FRFSE,T1 SAG P2,T1 rachis lombaire sag,T1 in phase,T1 SAG HEAD FIRST,T1 FLAIR SAG"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of a plain T1W and a plain T2W series, read once."""
    from spinefx.imaging.dicom_export import write_series

    from .conftest import STUDY, T1W, T2W

    folder = tmp_path_factory.mktemp("plain")
    for number, header in enumerate((T1W, T2W), start=1):
        uids = [f"1.2.826.0.1.{number}.{index + 1}" for index in range(5)]
        series = replace(header, series_number=number)
        write_series(folder / str(number), sagittal_volume(), STUDY, series, series_uid=f"1.2.{number}", sop_uids=uids)
    return open_study(folder)


def header_of(series: Series, **changes: Any) -> SequenceHeader:
    given_by = SequenceHeader(
        repetition_time_ms=series.repetition_time_ms,
        echo_time_ms=series.echo_time_ms,
        scanning_sequence=("SE",),
        sequence_variant=("SK",),
        image_type=series.image_type,
        names=("", ""),
    )
    return replace(given_by, **changes)


def is_free(series: Series, **changes: Any) -> bool:
    name = "\n".join(changes.get("names", ("", "")))
    changed = replace(series, contrast=contrast_of(header_of(series, **changes)), description=name)
    return not objection_to(changed, BOTH).reason


def spellings() -> st.SearchStrategy[Callable[[str], str]]:
    return st.sampled_from([str, str.upper, str.lower, str.title])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    word=st.sampled_from([*SUPPRESSED, *DIXON, *ENHANCED, *MAPS, *ELSEWHERE]),
    spell=spellings(),
    frame=st.sampled_from(["{}", "SAG {}", "{} SAG", "SAG_TSE_{}", "{}_sag_p2", "sag-{}-320", "sag ({})", "SAG/{}"]),
    where=st.sampled_from(["description", "protocol", "file"]),
    weighting=st.sampled_from(BOTH),
)
def test_a_plain_series_renamed_so_is_never_chosen(
    plain: Study, word: str, spell: Callable[[str], str], frame: str, where: str, weighting: Weighting
) -> None:
    series = next(one for one in plain.series if one.weighting is weighting)
    text = frame.format(spell(word))
    names = {"description": (text, "T1 SAG"), "protocol": ("", text), "file": (text, "", "")}[where]
    assert not is_free(series, names=names), text


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_is_no_obstacle(plain: Study, name: str) -> None:
    t1w = next(one for one in plain.series if one.weighting is Weighting.T1W)
    assert is_free(t1w, names=(name, "SPINE"))
    assert is_free(t1w, names=("", name))


@pytest.mark.parametrize("word", [*SUPPRESSED[:20], "FS", "FAT_SAT", "SPAIR"])
@pytest.mark.parametrize("beside", [(), ("PFP",), ("FC", "SP"), ("NONE",)])
def test_scan_options_speak_and_silence_nothing(plain: Study, word: str, beside: tuple[str, ...]) -> None:
    t2w = next(one for one in plain.series if one.weighting is Weighting.T2W)
    assert not is_free(t2w, options=(word.upper(), *beside))
    assert not is_free(t2w, options=beside, names=(f"T2 {word}",))
    assert not is_free(t2w, options=beside, sequence_name=word)
    assert is_free(t2w, options=beside)


@pytest.mark.parametrize(
    ("image_type", "kind"),
    [
        ("W", "Dixon water"),
        ("WATER", "Dixon water"),
        ("F", "Dixon fat"),
        ("FAT", "Dixon fat"),
        ("OP", "Dixon opposed phase"),
        ("OPP_PHASE", "Dixon opposed phase"),
        ("OUT_PHASE", "Dixon opposed phase"),
        ("FAT_FRACTION", "map or derived image"),
    ],
)
def test_image_types_of_a_dixon_are_heard(plain: Study, image_type: str, kind: str) -> None:
    types = ("ORIGINAL", "PRIMARY", "DIXON", image_type)
    assert contrast_of(header_of(plain.series[0], image_type=types)).kind == kind
    assert not is_free(plain.series[0], image_type=types)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "T1W"),
        ({"options": ("FS",)}, "T1W, fat-suppressed"),
        ({"names": ("T1 FS", "")}, "T1W, fat-suppressed"),
        ({"contrast_agent": True}, "T1W, contrast-enhanced"),
        ({"names": ("T1 fs +Gd", "")}, "T1W, fat-suppressed, contrast-enhanced"),
        ({"names": ("FAT: T1 Flex", "")}, "Dixon fat"),
        ({"names": ("InPhase: T1 Flex", "")}, "T1W, Dixon in phase"),
        ({"names": ("T1 mDIXON", "")}, "T1W, Dixon part unknown"),
        ({"scanning_sequence": ("GR",)}, "gradient echo"),
        ({"inversion_time_ms": 160.0, "repetition_time_ms": 4000.0, "echo_time_ms": 60.0}, "STIR"),
        ({"repetition_time_ms": 4000.0, "echo_time_ms": 60.0, "sequence_name": "*tir2d1_15"}, "STIR"),
        ({"repetition_time_ms": 2200.0, "inversion_time_ms": 860.0, "sequence_name": "*tir2d1_15"}, "T1W"),
        ({"repetition_time_ms": 2500.0, "echo_time_ms": 30.0}, "other contrast"),
        ({"repetition_time_ms": None, "echo_time_ms": None}, "unknown contrast"),
    ],
)
def test_a_series_is_called_by_its_true_kind(plain: Study, changes: dict[str, Any], kind: str) -> None:
    assert contrast_of(header_of(plain.series[0], **changes)).kind == kind


@pytest.mark.parametrize("text", NOTHING)
def test_words_for_nothing_are_nothing(text: str) -> None:
    assert says_nothing(text)
    assert not traits_of(f"T1 SAG {text}") or text.strip() in {"造影 なし"}


@pytest.mark.parametrize("text", ["Gadovist", "Dotarem 15 ml", "YES", "7.5", "non-ionic gadolinium", "GD", "KM", "1"])
def test_an_agent_is_an_agent(text: str) -> None:
    assert not says_nothing(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    traits_of(text)
    says_nothing(text)
    weighting_from_name(text)


def change(folder: Path, edit: Callable[[Dataset], None]) -> Path:
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        edit(dataset)
        dataset.save_as(path)
    return folder


@pytest.mark.parametrize("value", [word for word in NOTHING if word.isascii()])
def test_no_agent_in_the_header_is_no_agent(write_study: Write, value: str) -> None:
    folder = write_study({"t1": {"contrast_agent": value, "scan_options": ("NONE",)}, "t2": {"contrast_agent": value}})
    assert [series.number for series in choose_series(open_study(folder)).chosen.values()] == [1, 2]


@pytest.mark.parametrize("keyword", ["InversionTime", "InversionTimes"])
def test_an_inversion_time_is_found_in_either_element(write_study: Write, keyword: str) -> None:
    folder = write_study({"t1": {}, "t2 stir": {"repetition_time_ms": 4000, "echo_time_ms": 60}})
    value = "160" if keyword == "InversionTime" else [160.0]
    change(folder / "t2 stir", lambda dataset: setattr(dataset, keyword, value))
    study = open_study(folder)
    assert [series.kind for series in study.series] == ["T1W", "STIR"]
    with pytest.raises(SelectionError, match=r"fat-suppressed \(STIR\)"):
        choose_series(study)


def as_legacy_enhanced(paths: list[Path], target: Path) -> None:
    """Write the slices of a series as one Legacy Converted Enhanced file, its timing in unassigned sequences."""
    slices = [pydicom.dcmread(path) for path in paths]
    merged = slices[0].copy()
    merged.SOPClassUID = merged.file_meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedMRImageStorage
    merged.NumberOfFrames = len(slices)
    merged.PixelData = b"".join(one.PixelData for one in slices)
    kept = Dataset()
    for keyword in ("RepetitionTime", "EchoTime", "InversionTime", "ScanOptions", "ScanningSequence", "ImageType"):
        if keyword in merged:
            setattr(kept, keyword, merged[keyword].value)
            del merged[keyword]
    shared, frames = Dataset(), []
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = merged.ImageOrientationPatient
    measures.PixelSpacing = merged.PixelSpacing
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.UnassignedSharedConvertedAttributesSequence = Sequence([kept])
    for one in slices:
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([position])
        frames.append(frame)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del merged[keyword]
    merged.SharedFunctionalGroupsSequence = Sequence([shared])
    merged.PerFrameFunctionalGroupsSequence = Sequence(frames)
    target.parent.mkdir(parents=True, exist_ok=True)
    merged.save_as(target)


def test_timing_of_a_legacy_converted_file_is_found(write_study: Write, tmp_path: Path) -> None:
    stir = {"scanning_sequence": ("SE", "IR"), "inversion_time_ms": 160.0, "repetition_time_ms": 4000}
    folder = write_study({"t1": {}, "t2": {}, "t2 stir": stir, "t1 fat": {"scan_options": ("FS",)}})
    for name in ("t1", "t2", "t2 stir", "t1 fat"):
        as_legacy_enhanced(sorted((folder / name).glob("*.dcm")), tmp_path / "legacy" / f"{name}.dcm")
    study = open_study(tmp_path / "legacy")
    assert [series.kind for series in study.series] == ["T1W", "T2W", "STIR", "T1W, fat-suppressed"]
    assert [series.number for series in choose_series(study).chosen.values()] == [1, 2]


@pytest.mark.parametrize("word", ["FS", "SPAIR", "Dixon FAT", "WATER", "opposed phase", "+C", "ADC", "sSTIR", "KNEE"])
def test_a_finer_or_later_or_larger_series_of_another_kind_never_wins(write_study: Write, word: str) -> None:
    larger = {"volume": sagittal_volume(9), "description": f"T1 SAG {word}"}
    found = choose_series(open_study(write_study({"t1": {}, "t2": {}, "t1 other": larger})))
    assert [series.number for series in found.chosen.values()] == [1, 2]


def test_a_protocol_that_names_the_whole_exam_says_nothing_of_one_series(write_study: Write) -> None:
    exam = {"protocol_name": "L-SPINE W AND WO CONTRAST"}
    found = choose_series(
        open_study(write_study({"t1": exam, "t2": exam, "t1 fs": exam | {"description": "T1 FS +C"}}))
    )
    assert [series.number for series in found.chosen.values()] == [1, 2]


@pytest.mark.parametrize(
    ("changes", "named", "reason"),
    [
        ({"description": "T2 STIR"}, Weighting.T2W, "STIR"),
        ({"scan_options": ("FS",)}, Weighting.T2W, "fat-suppressed"),
        ({"description": "WATER: T2 Flex"}, Weighting.T2W, "Dixon water"),
        ({"scanning_sequence": ("GR",)}, Weighting.T2W, "gradient echo"),
        ({"image_type": ("DERIVED", "PRIMARY", "ADC")}, Weighting.T2W, "a map"),
        ({}, Weighting.T1W, "its timing says T2w"),
        ({"body_part": "HEAD", "scan_options": ("FS",)}, Weighting.T2W, "fat-suppressed"),
    ],
)
def test_nobody_can_name_a_series_that_is_known_to_be_something_else(
    write_study: Write, changes: dict[str, Any], named: Weighting, reason: str
) -> None:
    study = open_study(write_study({"t1": {}, "t2": {}, "t2 other": changes}))
    with pytest.raises(SelectionError, match=reason) as caught:
        choose_series(study, named={named: "1.2.826.0.1.3"})
    assert study.series[2].kind in str(caught.value)


def test_a_series_of_one_weighting_contradicts_another(plain: Study) -> None:
    first, second = plain.series
    assert [contradicts(first, one) for one in BOTH] == [False, True]
    assert [contradicts(second, one) for one in BOTH] == [True, False]


@pytest.mark.parametrize("size", [8.0, 10.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_voxels_beyond_all_protocols_are_refused(write_study: Write, axis: int, size: float) -> None:
    volume = sagittal_volume()
    affine = volume.affine.copy()
    affine[:3, axis] *= size / np.linalg.norm(affine[:3, axis])
    coarse = {"volume": replace(volume, affine=affine)}
    study = open_study(write_study({"t1": {}, "t2": coarse}))
    for named in ({}, {Weighting.T2W: "1.2.826.0.1.2"}):
        with pytest.raises(SelectionError, match="coarser than a model can read"):
            choose_series(study, named=named)


@pytest.mark.parametrize("unit", ["seconds", "milliseconds", "mixed"])
def test_times_of_a_sidecar_are_read_in_either_unit(tmp_path: Path, unit: str) -> None:
    make_image: Any = nibabel.Nifti1Image
    for name, repetition, echo in (("a_1", 426.3, 15.9), ("a_2", 3378.0, 87.3)):
        affine = np.array([[0, 0, 4.4, 0], [0.9, 0, 0, 0], [0, 0.9, 0, 0], [0, 0, 0, 1.0]])
        image = make_image(np.arange(600, dtype=np.int16).reshape(10, 12, 5), affine)
        image.set_sform(affine, 1)
        nibabel.save(image, tmp_path / f"{name}.nii.gz")
        times = {
            "RepetitionTime": repetition if unit == "milliseconds" else repetition / 1000,
            "EchoTime": echo / 1000 if unit == "seconds" else echo,
            "PatientID": "one",
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(times))
    chosen = choose_series(open_study(tmp_path)).chosen
    times_ms = [time for one in chosen.values() for time in (one.repetition_time_ms, one.echo_time_ms)]
    assert times_ms == pytest.approx([426.3, 15.9, 3378, 87.3])
