"""Rows of ``hostile.py`` about images: DICOM in its encodings, NIfTI, ZIP archives, stored volumes, and bombs."""

from __future__ import annotations

import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hostile_row import Row, SkippedRow
from spinefx.imaging.dicom_export import SeriesHeader, StudyHeader, write_series
from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.study import scan
from spinefx.imaging.volume import Volume

SEED = 20250314
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
STUDY = StudyHeader("X", "X^Y", "F", 66, "", "20250314", "1.2.826.0.1.77", "1.2.826.0.1.78")
T1W = SeriesHeader(3, "T1 SAG", 400, 15)
MIB = 2**20
NATIVE = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
COMPRESSED = {
    "rle": "RLELossless",
    "jpeg": "JPEGLosslessProcess14_1",
    "jpeg-ls": "JPEGLSLossless",
    "jpeg-2000": "JPEG2000Lossless",
}
ENCODINGS = (*NATIVE, *COMPRESSED)
NIFTI = {"nifti": ".nii", "nifti-gz": ".nii.gz", "nifti-2": ".nii"}


def volume(slices: int = 1, rows: int = 16, columns: int = 12) -> Volume:
    """Sagittal slices of numbers that are all different."""
    affine = np.array([[-4.4, 0, 0, 9.5], [0, 0, 0.6, -71.25], [0, -0.9, 0, 33], [0, 0, 0, 1]])
    values = np.arange(slices * rows * columns, dtype=np.float32).reshape(slices, rows, columns)
    return Volume(values, affine)


def write_dicom(folder: Path, what: Volume, number: int = 1) -> list[Path]:
    """Write a series, uncompressed."""
    uids = [f"1.2.826.0.1.{number}.{index + 1}" for index in range(what.shape[0])]
    return list(write_series(folder, what, STUDY, T1W, series_uid=f"1.2.826.0.1.{number}", sop_uids=uids))


def encode(path: Path, encoding: str) -> None:
    """Write a DICOM file again in another encoding."""
    if encoding in COMPRESSED:
        import gdcm

        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, COMPRESSED[encoding])))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        writer.Write()
        return
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    dataset.file_meta.TransferSyntaxUID = NATIVE[encoding]
    if encoding == "big-endian":
        dataset.PixelData = pixels.astype(">u2").tobytes()
    clean = pydicom.Dataset()
    clean.file_meta = dataset.file_meta
    clean.update({element.tag: element for element in dataset})
    kept = (
        {}
        if encoding == "deflated"
        else {
            "implicit_vr": encoding == "implicit",
            "little_endian": encoding != "big-endian",
        }
    )
    pydicom.dcmwrite(path, clean, **kept)


def prepare(kind: str, folder: Path) -> None:
    """Write the unspoilt original of a kind as ``original`` and its ending."""
    if kind in NIFTI:
        path = folder / f"original_T1w{NIFTI[kind]}"
        if kind == "nifti-2":
            nibabel.save(
                nibabel.Nifti2Image(np.arange(192, dtype=np.int16).reshape(12, 16, 1), np.diag([1, 2, 3, 1])), path
            )
        else:
            write_nifti(path, volume(), {})
            path.with_name("original_T1w.json").unlink()
        return
    (path,) = write_dicom(folder / "made", volume())
    if kind == "zip":
        with zipfile.ZipFile(folder / "original.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "IM1")
    else:
        encode(path, kind)
        shutil.copy(path, folder / "original.dcm")
    shutil.rmtree(folder / "made")


@cache
def original(folder: Path) -> tuple[Path, bytes, str]:
    """Return where to put a spoilt copy, the bytes of the original, and what is read from them."""
    (path,) = folder.glob("original*")
    target = folder / "tried" / f"a{''.join(path.suffixes)}"
    target.parent.mkdir(exist_ok=True)
    return target, path.read_bytes(), read(path)


def read(path: Path) -> str:
    """Read all images at a path as ``predict`` and ``ingest`` do; return a digest of voxels and place."""
    found = scan(path)
    if not found.studies:
        return ""
    volumes = [series.load() for study in found.studies for series in study.series]
    return " ".join(f"{one.voxel_digest} {one.affine.round(4).tolist()}" for one in volumes)


def outcome(folder: Path, data: bytes) -> str:
    """Try a spoilt copy."""
    target, _, before = original(folder)
    target.write_bytes(data)
    after = read(target)
    return "refused" if not after else "equal" if after == before else "changed"


def outcome_by(program: str, folder: Path, data: bytes) -> str:
    """Try a spoilt copy with another program; whatever it raises is its refusal."""
    target, whole, _ = original(folder)
    loaded = []
    for content in (whole, data):
        target.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded.append(BY_OTHERS[program](target))
        except Exception:
            loaded.append(None)
    return "refused" if loaded[1] is None else "equal" if np.array_equal(loaded[0], loaded[1]) else "changed"


BY_OTHERS: dict[str, Callable[[Path], np.ndarray]] = {
    "pydicom": lambda path: pydicom.dcmread(path, force=True).pixel_array,
    "nibabel": lambda path: np.asarray(nibabel.load(path).dataobj),
}


def truncated(folder: Path, number: int) -> bytes:
    """Cut the original off after so many bytes."""
    return original(folder)[1][:number]


def mutated(folder: Path, number: int) -> bytes:
    """Spoil the original at random: bits, bytes, runs removed, doubled or zeroed, lengths made extreme."""
    data, rng = bytearray(original(folder)[1]), np.random.default_rng([SEED, number])
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(data)))
        length = int(rng.integers(1, 32))
        match int(rng.integers(6)):
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[place] = int(rng.integers(256))
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case 4:
                data[place : place + length] = bytes(min(length, len(data) - place))
            case _:
                extreme = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x80")[int(rng.integers(4))]
                data[place : place + 4] = extreme
        data = data or bytearray(b"\0")
    return bytes(data)


def flipped(folder: Path, number: int) -> bytes:
    """Flip one bit of the original."""
    data = bytearray(original(folder)[1])
    data[number // 8 % len(data)] ^= 1 << number % 8
    return bytes(data)


def one_row(
    name: str, kind: str, make: Callable[[Path, int], bytes], count: int, *, short: int = 40, may_change: bool = False
) -> Row:
    """A row that spoils the original of a kind and reads it, and the program beside that reads the same."""
    beside = "nibabel" if kind in NIFTI else "" if kind == "zip" else "pydicom"

    def attempt(folder: Path, number: int) -> str:
        return outcome(folder, make(folder, number))

    def attempt_by(folder: Path, number: int) -> str:
        return outcome_by(beside, folder, make(folder, number))

    others = {beside: attempt_by} if beside else {}
    return Row(f"{name}-{kind}", count, short, partial(prepare, kind), attempt, may_change=may_change, others=others)


def size_of(folder: Path) -> int:
    """Bytes of the original."""
    return len(original(folder)[1])


def bits_of(folder: Path) -> int:
    """Bits of the original."""
    return 8 * size_of(folder)


def header_bits_of(folder: Path) -> int:
    """Bits of the original's header."""
    path, data, _ = original(folder)
    return 8 * (544 if ".nii" in path.suffixes else data.index(b"\xe0\x7f\x10\x00") + 12)


# Codestreams: every byte of their headers in turn, and at random past the checks that stand before the decoder.

EXTREMES = (0, 1, 0x14, 0x7F, 0x80, 0xFF)
HEADS = {"jpeg": b"\xff\xd8\xff", "jpeg-ls": b"\xff\xd8\xff", "jpeg-2000": b"\xff\x4f\xff\x51"}
HEAD_BYTES = 140


def with_extreme_byte(kind: str, folder: Path, number: int) -> bytes:
    """Set one byte of the codestream's header to an extreme."""
    data = bytearray(original(folder)[1])
    head = data.index(HEADS[kind])
    data[head + number // len(EXTREMES) % (len(data) - head)] = EXTREMES[number % len(EXTREMES)]
    return bytes(data)


def decoded(kind: str, folder: Path, number: int) -> str:
    """Hand a spoilt codestream straight to the decoder's process."""
    from spinefx.imaging.dicom_decoding import decode_frame

    dataset = pydicom.dcmread(folder / "original.dcm")
    data, rng = (
        bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1))),
        np.random.default_rng([SEED, number]),
    )
    for place in rng.integers(0, min(len(data), HEAD_BYTES), int(rng.integers(1, 4))):
        data[place] = int(rng.integers(256))
    size = {"rows": dataset.Rows, "columns": dataset.Columns, "bits_allocated": 16, "bits_stored": 16, "signed": False}
    pixels = decode_frame(bytes(data), dataset.file_meta.TransferSyntaxUID, **size)
    return "equal" if np.array_equal(np.frombuffer(pixels, np.uint16), volume().array.ravel()) else "changed"


def decoded_here(kind: str, folder: Path, number: int) -> str:
    """Hand the same codestream to GDCM in this process, as pydicom does."""
    dataset = pydicom.dcmread(folder / "original.dcm")
    data, rng = (
        bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1))),
        np.random.default_rng([SEED, number]),
    )
    for place in rng.integers(0, min(len(data), HEAD_BYTES), int(rng.integers(1, 4))):
        data[place] = int(rng.integers(256))
    dataset.PixelData = encapsulate([bytes(data)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = dataset.pixel_array
    except Exception:
        return "refused"
    return "equal" if np.array_equal(pixels.ravel(), volume().array.ravel()) else "changed"


def prepare_crash_files(folder: Path) -> None:
    """Copy the real files that end GDCM."""
    if not (SHARED / "dicom_hostile").is_dir():
        raise SkippedRow("../shared/data/dicom_hostile is not here")
    for number, path in enumerate(sorted((SHARED / "dicom_hostile").glob("*.dcm"))):
        shutil.copy(path, folder / f"{number}.dcm")


def read_numbered(folder: Path, number: int) -> str:
    """Read one of several files, of which none is an image."""
    return "changed" if read(next(folder.glob(f"{number}.*"))) else "refused"


def read_numbered_by_pydicom(folder: Path, number: int) -> str:
    """The same by pydicom."""
    try:
        pydicom.dcmread(next(folder.glob(f"{number}.*"))).pixel_array  # noqa: B018
    except Exception:
        return "refused"
    return "changed"


# Stored volumes: every bit of a small one, and the recorded digest beside it.


def prepare_stored(folder: Path) -> None:
    """Write a volume as a workspace keeps it."""
    what = volume()
    write_nifti(folder / "original_T1w.nii.gz", what, {"VoxelSha256": what.voxel_digest})


def read_stored(folder: Path, number: int) -> str:
    """Flip one bit of a stored volume and read it."""
    path = folder / "original_T1w.nii.gz"
    whole = _bytes_of(path)
    before = volume()
    data = bytearray(whole)
    data[number // 8] ^= 1 << number % 8
    target = folder / "tried" / path.name
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    shutil.copy(folder / "original_T1w.json", target.parent)
    after = read_nifti(target)
    return (
        "equal" if np.array_equal(after.array, before.array) and np.allclose(after.affine, before.affine) else "changed"
    )


def read_stored_by_nibabel(folder: Path, number: int) -> str:
    """The same by nibabel."""
    path = folder / "original_T1w.nii.gz"
    data = bytearray(_bytes_of(path))
    data[number // 8] ^= 1 << number % 8
    target = folder / f"by_{path.name}"
    target.write_bytes(data)
    try:
        image = nibabel.load(target)
        after = np.asarray(image.dataobj)
    except Exception:
        return "refused"
    whole = nibabel.load(path)
    same = np.array_equal(after, np.asarray(whole.dataobj)) and np.allclose(image.affine, whole.affine)
    return "equal" if same else "changed"


@cache
def _bytes_of(path: Path) -> bytes:
    return path.read_bytes()


# Bombs: as large as the limits let through, and a little larger. The parent writes them, and each has its own reader.


def zeros(path: Path, size: int, head: bytes = b"") -> None:
    """Write a head and so many zeros, without taking room on the disk where it can be helped."""
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(len(head) + size)


def zipped_series(path: Path, slices: int, side: int) -> None:
    """Two series of empty slices in a small archive, with as much noise beside them as its ratio needs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for series in (1, 2):
            place = path.parent / "slice"
            (file,) = write_dicom(place, Volume(np.zeros((1, side, side), np.float32), volume().affine), series)
            data = file.read_bytes()
            shutil.rmtree(place)
            dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data))
            for index in range(slices):
                dataset.SOPInstanceUID = f"1.2.826.0.1.{series}.{index + 1}"
                dataset.ImagePositionPatient = [9.5 - 4.4 * index, -71.25, 33 + series]  # no copies of each other
                buffer = pydicom.filebase.DicomBytesIO()
                dataset.save_as(buffer)
                archive.writestr(f"{series}/{index}", buffer.getvalue())
        archive.writestr("noise", np.random.default_rng(SEED).bytes(slices * side * side * 4 // 190))


def one_frame(path: Path, encoding: str, side: int = 4096) -> None:
    """One empty slice of the largest size in an encoding."""
    image = np.zeros((1, side, side), np.float32)
    image[0, :64] = np.random.default_rng(SEED).integers(0, 4096, (64, side))  # as much as every coding's ratio needs
    (file,) = write_dicom(path.parent / "slice", Volume(image, volume().affine))
    if encoding == "deflated":  # noise in its header brings the ratio under the limit
        dataset = pydicom.dcmread(file)
        block = dataset.private_block(0x0011, "SPINEFX", create=True)
        block.add_new(1, "OB", np.random.default_rng(SEED).bytes(side * side * 2 // 190))
        dataset.save_as(file)
    encode(file, encoding)
    shutil.move(file, path)


def nifti_header(shape: tuple[int, int, int], kind: type) -> bytes:
    """The head of a NIfTI-1 file, up to its voxels, with a slope."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(kind)
    header.set_sform(np.diag([1, 1, 1, 1.0]), 1)
    header["scl_slope"], header["scl_inter"], header["vox_offset"], header["magic"] = 0.5, 1, 352, b"n+1"
    return header.binaryblock + bytes(4)


def gzip_zeros(path: Path, size: int, head: bytes) -> None:
    """Compress a head and so many zeros, without holding them."""
    press = zlib.compressobj(9, wbits=31)
    with path.open("wb") as stream:
        stream.write(press.compress(head))
        for _ in range(size // MIB):
            stream.write(press.compress(bytes(MIB)))
        stream.write(press.compress(bytes(size % MIB)) + press.flush())


def many_frames(path: Path, files: int, frames: int) -> None:
    """Enhanced files of very small frames, each with a place of its own, in an archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in range(files):
            archive.writestr(f"IM{file}", enhanced(frames, f"1.2.826.0.9.{file}"))
        archive.writestr("noise", np.random.default_rng(SEED).bytes(files * frames))


def enhanced(frames: int, uid: str, *, step: int = -1) -> bytes:
    """An Enhanced MR file of frames of one pixel, all different, by hand: pydicom would take long."""

    def element(tag: int, vr: str, value: bytes) -> bytes:
        value += (b"\0" if vr in {"UI", "OW"} else b" ") * (len(value) % 2)
        head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
        long = vr in {"SQ", "OW"}
        return head + (struct.pack("<HI", 0, len(value)) if long else struct.pack("<H", len(value))) + value

    def sequence(tag: int, *items: bytes) -> bytes:
        return element(tag, "SQ", b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in items))

    def number(value: int) -> bytes:
        return struct.pack("<H", value)

    syntax = element(0x00020010, "UI", b"1.2.840.10008.1.2.1")
    shared = sequence(0x00209116, element(0x00200037, "DS", b"0\\1\\0\\0\\0\\-1"))
    shared += sequence(0x00289110, element(0x00280030, "DS", b"1\\1"))
    places = [
        sequence(0x00209113, element(0x00200032, "DS", f"{step * index}\\0\\0".encode())) for index in range(frames)
    ]
    return b"".join(
        [
            bytes(128) + b"DICM" + syntax,
            element(0x00080018, "UI", f"{uid}.1".encode()) + element(0x00080060, "CS", b"MR"),
            element(0x00100020, "LO", b"X"),
            element(0x0020000D, "UI", b"1.2.826.0.1.77") + element(0x0020000E, "UI", uid.encode()),
            element(0x00280002, "US", number(1)) + element(0x00280004, "CS", b"MONOCHROME2"),
            element(0x00280008, "IS", str(frames).encode()),
            *(element(0x00280000 | tag, "US", number(value)) for tag, value in ((0x10, 1), (0x11, 1), (0x100, 16))),
            *(element(0x00280000 | tag, "US", number(value)) for tag, value in ((0x101, 16), (0x102, 15), (0x103, 0))),
            sequence(0x52009229, shared) + sequence(0x52009230, *places),
            element(0x7FE00010, "OW", np.arange(frames, dtype="<u2").tobytes()),
        ]
    )


def many_thin_volumes(path: Path, files: int) -> None:
    """NIfTI files of 4096 slices of one pixel, each with a long sidecar, in an archive."""
    head = nifti_header((4096, 1, 1), np.uint8)
    sidecar = (
        b'{"SliceEncodingDirection": "i"' + b"".join(b', "k%d": "%b"' % (key, b"x" * 900) for key in range(900)) + b"}"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in range(files):
            archive.writestr(f"{file}/a_T1w.nii", head + bytes(4096))
            archive.writestr(f"{file}/a_T1w.json", sidecar)
        archive.writestr("noise", np.random.default_rng(SEED).bytes(files * 5000))


def long_header(path: Path, size: int) -> None:
    """A DICOM file whose private header is as long as may be."""
    (file,) = write_dicom(path.parent / "slice", volume())
    dataset = pydicom.dcmread(file)
    dataset.private_block(0x0011, "SPINEFX", create=True).add_new(1, "OB", bytes(size))
    dataset.save_as(path)


def many_elements(path: Path, count: int, data: bytes) -> None:
    """A DICOM file with so many elements before its pixels."""
    (file,) = write_dicom(path.parent / "slice", volume())
    whole = file.read_bytes()
    place = whole.index(b"\x28\x00\x02\x00US")
    path.write_bytes(whole[:place] + data * count + whole[place:])


def many_members(path: Path, count: int) -> None:
    """An archive of so many empty files."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number}", b"")


BOMBS: dict[str, Callable[[Path], None]] = {
    "zip": lambda path: zipped_series(path, 126, 512),
    "big.zip": lambda path: zipped_series(path, 2, 4096),
    "nii": lambda path: zeros(path, 2**28, nifti_header((512, 512, 128), np.float64)),
    "nii.gz": lambda path: gzip_zeros(path, 2**28, nifti_header((512, 512, 128), np.float64)),
    "flat.nii.gz": lambda path: gzip_zeros(path, 2**27, nifti_header((4096, 4096, 2), np.float32)),
    "long.nii.gz": lambda path: gzip_zeros(path, 2**30, nifti_header((512, 512, 128), np.uint8)),
    "over.nii.gz": lambda path: gzip_zeros(path, 2**28, nifti_header((512, 512, 129), np.float64)),
    **{f"{encoding}.dcm": partial(one_frame, encoding=encoding) for encoding in ENCODINGS},
    "frames.zip": lambda path: many_frames(path, 3, 10_000),
    "frames.dcm": lambda path: path.write_bytes(enhanced(10_000, "1.2.826.0.9")),
    "place.dcm": lambda path: path.write_bytes(enhanced(10_000, "1.2.826.0.9", step=0)),
    "volumes.zip": lambda path: many_thin_volumes(path, 300),
    "header.dcm": lambda path: long_header(path, 40 * MIB),
    "longer.dcm": lambda path: long_header(path, 120 * MIB),
    "elements.dcm": lambda path: many_elements(path, 199_000, b"\x21\x00\x10\x10UN\0\0\0\0\0\0"),
    "items.dcm": lambda path: path.write_bytes(
        enhanced(1, "1.2.826.0.9").replace(
            b"\x00\x52\x30\x92SQ",
            b"\x00\x52\x30\x92SQ\0\0"
            + struct.pack("<I", 8 * 150_000)
            + b"\xfe\xff\x00\xe0\0\0\0\0" * 150_000
            + b"\x00\x52\x31\x92SQ",
        )
    ),
    "members.zip": lambda path: many_members(path, 50_000),
    "more.zip": lambda path: many_members(path, 140_000),
}


def prepare_bombs(folder: Path) -> None:
    """Write every bomb."""
    for number, (ending, build) in enumerate(BOMBS.items()):
        build(folder / f"{number}.{ending}")
        shutil.rmtree(folder / "slice", ignore_errors=True)


def read_bomb(folder: Path, number: int) -> str:
    """Read a bomb: both series at once, as ``predict`` holds them."""
    return "equal" if read(next(folder.glob(f"{number}.*"))) else "refused"


ROWS = (
    *(one_row("cut", kind, truncated, size_of) for kind in (*ENCODINGS, *NIFTI, "zip")),
    *(one_row("mutant", kind, mutated, 4000, may_change=True) for kind in (*ENCODINGS, *NIFTI, "zip")),
    *(
        one_row("header-bit", kind, flipped, header_bits_of, may_change=True)
        for kind in ("explicit", "nifti", "nifti-2")
    ),
    *(one_row("bit", kind, flipped, bits_of) for kind in ("nifti-gz", "zip")),
    *(
        one_row("codestream", kind, partial(with_extreme_byte, kind), HEAD_BYTES * len(EXTREMES), may_change=True)
        for kind in HEADS
    ),
    *(
        Row(
            f"decoder-{kind}",
            500,
            20,
            partial(prepare, kind),
            partial(decoded, kind),
            may_change=True,
            others={"pydicom": partial(decoded_here, kind)},
        )
        for kind in HEADS
    ),
    Row("crash-files", 2, 2, prepare_crash_files, read_numbered, others={"pydicom": read_numbered_by_pydicom}),
    Row(
        "stored-bit",
        lambda folder: 8 * len(_bytes_of(folder / "original_T1w.nii.gz")),
        60,
        prepare_stored,
        read_stored,
        others={"nibabel": read_stored_by_nibabel},
    ),
    Row("bombs", len(BOMBS), len(BOMBS), prepare_bombs, read_bomb, alone=True),
)
