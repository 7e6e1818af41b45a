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


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in entries.items():
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.compress_type = name, zipfile.ZIP_DEFLATED  # as it is, whatever this system writes
            opened.writestr(entry, content)
    return path


@pytest.fixture
def slices(write_study: Write) -> list[bytes]:
    return [path.read_bytes() for path in sorted((write_study({"t1": {}}) / "t1").glob("*.dcm"))]


def test_backslashes_between_folders_are_read_and_lead_nowhere_else(slices: list[bytes], tmp_path: Path) -> None:
    entries = {f"DICOM\\PA20\\ST29\\IM{number}": content for number, content in enumerate(slices)}
    entries |= {"DICOM\\empty\\": b"", "DICOM\\..\\..\\out.dcm": slices[0], "\\rooted.dcm": slices[0]}
    entries |= {"C:\\drive.dcm": slices[0]}
    found = scan(zipped(tmp_path / "windows.zip", entries))
    assert [series.number_of_slices for series in found.studies[0].series] == [5]
    assert [item.reason for item in found.refused] == ["has a name that leaves the folder"] * 3
    members = list_members(tmp_path / "windows.zip").members
    assert {member.name for member in members} == {f"DICOM/PA20/ST29/IM{number}" for number in range(5)}
    assert {member.top_folder for member in members} == {"DICOM"}


def test_what_systems_leave_behind_is_one_line(slices: list[bytes], tmp_path: Path) -> None:
    junk = ["__MACOSX/a/._IM0", "a/._IM0", "a/.DS_Store", ".DS_Store", "a/Thumbs.db", "a/desktop.ini"]
    entries = {f"a/IM{number}": content for number, content in enumerate(slices)} | dict.fromkeys(junk, b"junk")
    found = scan(zipped(tmp_path / "mac.zip", entries))
    assert [series.number_of_slices for series in found.studies[0].series] == [5]
    assert [(item.label, item.reason) for item in found.refused] == [
        ("6 files", "left by macOS or Windows beside the images")
    ]
    folder = tmp_path / "folder"
    for name, content in entries.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    assert [item.label for item in scan(folder).refused] == ["6 files"]
    for name in junk[1:]:
        (folder / name).unlink()
    assert [item.label for item in scan(folder).refused] == ["1 file"]


def test_two_files_of_one_name_are_both_refused(slices: list[bytes], tmp_path: Path) -> None:
    entries = {"a/IM0": slices[0], "a\\IM0": slices[1], "a/IM2": slices[2]}
    found = scan(zipped(tmp_path / "same.zip", entries))
    assert [series.number_of_slices for series in found.studies[0].series] == [1]
    assert [item.reason for item in found.refused] == ["has the name of another file of the archive"] * 2


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_inflate_in_one_go_are_refused(slices: list[bytes], tmp_path: Path, packing: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as opened:
        opened.writestr("IM0", slices[0])
    assert reasons(tmp_path / "a.zip") == {"is packed in a way that is not read; stored and deflated files are"}


def test_a_changed_member_is_one_refused_file(slices: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "stored.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as opened:
        for number, content in enumerate(slices):
            opened.writestr(f"IM{number}", content)
    data = bytearray(path.read_bytes())
    data[data.index(slices[2]) + len(slices[2]) - 5] ^= 1  # a pixel: its checksum tells
    path.write_bytes(data)
    found = scan(path)
    assert sum(series.number_of_slices for series in found.studies[0].series) == 4
    assert [item.reason for item in found.refused] == ["cannot be read (BadZipFile)"]


def test_a_list_of_files_that_would_fill_memory_is_refused_unread(
    slices: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "a.zip", {f"IM{number}": content for number, content in enumerate(slices)})
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(ArchiveError, match="list of files takes"):
        scan(path)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    long_end = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 5, 5, 10**9, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    struct.pack_into("<I", data, end + 12, 0xFFFFFFFF)
    path.write_bytes(data[:end] + long_end + locator + data[end:])
    with pytest.raises(ArchiveError, match="takes 1000000000 bytes"):
        scan(path)


def test_an_export_whose_headers_fill_memory_is_refused_by_name(
    slices: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "a.zip", {f"IM{number}": content for number, content in enumerate(slices)})
    monkeypatch.setattr(archive, "MAX_KEPT_BYTES", 5000)
    with pytest.raises(ArchiveError, match=r"headers that take more than .* Give it in parts"):
        scan(path)


def test_a_pipe_in_the_place_of_a_listed_file_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "IM0"
    path.write_bytes(b"x" * 100)
    (member,) = list_members(tmp_path).members
    path.unlink()
    os.mkfifo(path)
    with MemberReader() as reader, pytest.raises(FileError, match="no regular file"):
        reader.open(member)
    with pytest.raises(FileError, match="no regular file"):
        scan(path)
    with pytest.raises(FileError, match="not found"):
        scan(tmp_path / "absent")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "/dev/stdin"])
def test_devices_are_not_read(device: str) -> None:
    if not os.path.exists(device) or os.path.isfile(device):
        pytest.skip(f"{device} is no device here")
    with pytest.raises(FileError, match="no regular file"):
        scan(Path(device))


def test_folders_nested_beyond_the_recursion_limit_are_walked(slices: list[bytes], tmp_path: Path) -> None:
    folder = place = tmp_path / "deep"
    place.mkdir()
    for _ in range(1500):
        place = place / "d"
        place.mkdir()
    (place / "IM0").write_bytes(slices[0])
    try:
        assert len(scan(folder).studies) == 1
    finally:
        while place != tmp_path:  # one by one: the standard library's rmtree recurses
            for file in place.glob("IM*"):
                file.unlink()
            place.rmdir()
            place = place.parent


def test_a_zipped_member_can_be_read_again_from_its_start(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    path = zipped(tmp_path / "a.zip", {"IM0": content})
    (member,) = list_members(path).members
    with MemberReader() as reader, reader.open(member) as stream:
        assert stream.read(10) == content[:10]
        assert stream.seek(200_000) == 200_000
        assert stream.read(10) == content[200_000:200_010]
        assert stream.seek(5) == 5
        assert stream.read() == content[5:]
        assert stream.read(1) == b""
