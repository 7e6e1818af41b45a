"""Containers: nothing leads out of an export, nothing inflates beyond measure, and the rest is read."""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from spinefx.errors import ArchiveError, FileError
from spinefx.imaging import archive
from spinefx.imaging.archive import Member, MemberReader, list_members
from spinefx.imaging.study import scan

Write = Callable[..., Path]


def reasons(path: Path) -> set[str]:
    return {item.reason for item in scan(path).refused}


@pytest.mark.parametrize(
    "name",
    ["../outside.dcm", "/etc/outside.dcm", "a/../../outside.dcm", "..\\outside.dcm", "C:/outside.dcm", "x" * 1500],
)
def test_a_zip_member_that_leaves_its_folder_is_refused_alone(write_study: Write, tmp_path: Path, name: str) -> None:
    image = write_study({"t1": {}}) / "t1" / "IM0001.dcm"
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.write(image, "in/IM0001.dcm")
        opened.writestr(name, image.read_bytes())
    found = scan(path)
    assert found.studies[0].series[0].number_of_slices == 1
    assert len(found.refused) == 1
    assert "name" in found.refused[0].reason


def test_a_zip_bomb_is_refused_unopened(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("bomb.dcm", bytes(64 * 2**20))
    with pytest.raises(ArchiveError, match="inflates beyond measure"):
        scan(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.move(path, folder / "bomb.zip")
    assert reasons(folder) == {"a ZIP archive that inflates beyond measure"}


def test_one_swollen_member_does_not_stop_the_rest(write_study: Write, tmp_path: Path) -> None:
    image = write_study({"t1": {}}) / "t1" / "IM0001.dcm"
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("bomb.dcm", bytes(8 * 2**20))
        opened.writestr("ballast.bin", os.urandom(2**17))
        opened.write(image, "IM0001.dcm")
    assert len(scan(path).studies) == 1
    assert "inflates beyond measure" in reasons(path)


def test_a_member_that_lies_about_its_size_is_refused(write_study: Write, tmp_path: Path) -> None:
    image = write_study({"t1": {}}) / "t1" / "IM0001.dcm"
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.write(image, "IM0001.dcm")
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, directory + 24, 100)
    path.write_bytes(data)
    assert not scan(path).studies
    assert len(scan(path).refused) == 1


def test_broken_encrypted_and_nested_archives(write_study: Write, tmp_path: Path) -> None:
    folder = write_study({"t1": {}})
    inner = Path(shutil.make_archive(str(tmp_path / "inner"), "zip", folder))
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as opened:
        opened.write(inner, "inner.zip")
    assert reasons(tmp_path / "outer.zip") == {"is a ZIP archive inside a ZIP archive"}
    data = bytearray(inner.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    assert "is encrypted" in reasons(tmp_path / "locked.zip")
    (tmp_path / "cut.zip").write_bytes(inner.read_bytes()[:300])
    with pytest.raises(ArchiveError, match="cannot be read"):
        scan(tmp_path / "cut.zip")


def test_too_many_members(monkeypatch: pytest.MonkeyPatch, write_study: Write, tmp_path: Path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "many"), "zip", write_study({"t1": {}})))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 4)
    with pytest.raises(ArchiveError, match="5 files"):
        scan(path)


def test_links_out_of_the_folder_are_refused(write_study: Write, tmp_path: Path) -> None:
    secret = write_study({"t1": {}}, folder=tmp_path / "elsewhere")
    inside = write_study({"t2": {}}, folder=tmp_path / "export")
    (inside / "file.dcm").symlink_to(secret / "t1" / "IM0001.dcm")
    (inside / "folder").symlink_to(secret, target_is_directory=True)
    (inside / "loop").symlink_to(inside / "loop")
    (inside / "alias.dcm").symlink_to(inside / "t2" / "IM0001.dcm")
    os.mkfifo(inside / "pipe")
    found = scan(inside)
    assert [series.number_of_slices for series in found.studies[0].series] == [5]
    assert sorted(item.reason for item in found.refused) == [
        "cannot be read",
        "is a symbolic link that leaves the folder",
        "is a symbolic link that leaves the folder",
        "is no regular file",
    ]


def test_a_file_that_vanished_is_an_error_without_its_path(tmp_path: Path) -> None:
    member = Member("MUSTERMANN.dcm", tmp_path / "MUSTERMANN.dcm", 10)
    with MemberReader() as reader, pytest.raises(FileError) as caught:
        reader.open(member)
    assert "MUSTERMANN" not in str(caught.value)
    assert "MUSTERMANN" not in repr(member)


def write_directory(path: Path, references: list[list[str]]) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    records = []
    with pydicom.config.disable_value_validation():
        for parts in references:
            record = Dataset()
            record.DirectoryRecordType = "IMAGE"
            record.ReferencedFileID = parts
            records.append(record)
        dataset.DirectoryRecordSequence = records
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def test_a_dicomdir_reads_what_it_lists_and_nothing_outside(write_study: Write, tmp_path: Path) -> None:
    folder = write_study({"T1": {"repetition_time_ms": 400, "echo_time_ms": 15}, "T2": {}}, folder=tmp_path / "disc")
    write_study({"t1": {}}, folder=tmp_path / "secret")
    write_directory(
        folder / "DICOMDIR",
        [["t1", "im0001.dcm"], ["T1", "IM0002.dcm"], ["..", "secret", "t1", "IM0001.dcm"], ["T1", "IM0009.dcm"]],
    )
    found = scan(folder / "DICOMDIR")
    assert [series.number_of_slices for series in found.studies[0].series] == [2]
    assert sorted(item.reason for item in found.refused) == [
        "has a name that leaves the folder",
        "is listed in the DICOMDIR but missing",
    ]
    # Scanning the folder finds all of it, and the DICOMDIR is no refused image.
    assert sum(series.number_of_slices for series in scan(folder).studies[0].series) == 10
    assert scan(folder).refused == ()


def test_real_dicomdir_variants(shared_data: Path) -> None:
    folder = shared_data / "dicom_multistudy_dicomdir"
    whole = scan(folder)
    assert len(whole.studies) == 5
    assert len({study.folder_key for study in whole.studies}) == 3
    for name in ("DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-reordered", "DICOMDIR-nopatient"):
        found = scan(folder / name)
        assert found.studies == whole.studies, name
        assert {item.reason for item in found.refused} == {
            "is no MR image (its modality is CR) and has no position in the patient"
        }
    assert reasons(folder / "DICOMDIR-nooffset") == {"is truncated inside its header"}
    with pytest.raises(FileError, match="without any files"):
        scan(folder / "DICOMDIR-empty.dcm")


def test_members_are_listed_by_name_whatever_the_container(write_study: Write, tmp_path: Path) -> None:
    folder = write_study({"t1": {}})
    zipped = Path(shutil.make_archive(str(tmp_path / "same"), "zip", folder))
    names = [[member.name for member in list_members(path).members] for path in (folder, zipped)]
    assert names[0] == names[1] == [f"t1/IM000{number}.dcm" for number in range(1, 6)]
