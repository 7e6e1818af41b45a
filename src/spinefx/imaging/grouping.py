"""Which images make one series: copies dropped, series of several stacks divided, series of single images joined."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import FileError
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.dicom import Frame, Header
from spinefx.imaging.dicom_layout import StoredPixels
from spinefx.imaging.dicom_pixels import frame_digests
from spinefx.imaging.stack import (
    PARALLEL_TOLERANCE,
    fault_of_stack,
    order_along_normal,
    plane_of_stack,
    rounding_of,
    split_repeats,
)
from spinefx.vocabulary import Plane

__all__ = ["Image", "divide", "join_single_images", "rounding_of_images", "without_copied_series", "without_copies"]

FEWEST_JOINED = 3
# More orientations than this are a rotating view, which no stack is part of.
MOST_LAYOUTS = 4
SAME_LINE_MM = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """One frame with the header of its file, while the headers are sorted.

    Parameters
    ----------
    header : Header
    frame : Frame
    member : Member
    copies : tuple of str
        SOP Instance UIDs of exact copies that were left out.
    """

    header: Header
    frame: Frame
    member: Member
    copies: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.header.pixels.layout.rows, self.header.pixels.layout.columns

    @property
    def affine(self) -> NDArray[np.float64]:
        """Maps (0, row, column, 1) to LPS millimetres."""
        return self.frame.affine


def rounding_of_images(images: Iterable[Image]) -> float:
    """Return how far the written positions of images may lie from the true ones, millimetres.

    Parameters
    ----------
    images : iterable of Image

    Returns
    -------
    float
    """
    return rounding_of(image.frame.written_step_mm for image in images)


def without_copies(images: Iterable[Image], reader: MemberReader) -> tuple[list[Image], list[Image]]:
    """Drop copies of images: the same place and pixels, under the same UID or, within a series, under another one.

    Parameters
    ----------
    images : iterable of Image
    reader : MemberReader

    Returns
    -------
    tuple
        The images that are kept, and the copies under other UIDs.
    """
    unique = _first_of_each(images, lambda image: (_study_of(image), image.header.sop_uid), reader)[0]
    unique.sort(key=lambda image: (image.header.sop_uid, image.frame.number))
    return _first_of_each(unique, lambda image: (_study_of(image), image.header.series_uid, *_sort_of(image)), reader)


def without_copied_series(stacks: Sequence[list[Image]], reader: MemberReader) -> tuple[list[list[Image]], list[Image]]:
    """Drop series that repeat another series of their study image by image: equal headers, other UIDs.

    Parameters
    ----------
    stacks : sequence of lists of Image
        The lowest series number first.
    reader : MemberReader

    Returns
    -------
    tuple
        The stacks that are kept, and the images of the copies.
    """
    comparison = _Comparison(reader)
    kept: dict[Hashable, list[list[Image]]] = {}
    copies: list[Image] = []
    order: list[list[Image]] = []
    for stack in stacks:
        ordered = sorted(stack, key=_place_of)
        head = stack[0].header
        series = head.series_number, head.words, head.body_part
        same = kept.setdefault((series, *((_place_of(image), _sort_of(image)) for image in ordered)), [])
        twin = next((other for other in same if all(map(comparison.is_copy, ordered, other))), None)
        if twin is None:
            same.append(ordered)
            order.append(stack)
        else:
            copies += stack
    return order, copies


def divide(images: list[Image]) -> list[list[Image]]:
    """Divide the images of one series into its stacks, each of which is then judged by itself.

    Parameters
    ----------
    images : list of Image

    Returns
    -------
    list of lists of Image
        By orientation and size, then by echo, image type, acquisition and time where a place repeats, then by the
        acquisition or the line that stacks lie on. A gap that a missing slice explains divides nothing. A localizer of
        three planes stays whole.
    """
    stacks = []
    for part in _layouts(images):
        for stack in split_repeats(part, (*KEYS, _line_of(part))):
            stacks += _divide_apart(stack)
    return stacks


def join_single_images(series: dict[str, list[Image]]) -> tuple[dict[str, list[Image]], int]:
    """Join series of one image each that are slices of one stack, as some exporters write them.

    Parameters
    ----------
    series : dict of str to list of Image
        By Series Instance UID.

    Returns
    -------
    tuple
        The series, those that were joined under the least of their UIDs; and how many were joined.
    """
    single = {
        uid: images[0] for uid, images in series.items() if len(images) == 1 and images[0].header.modality == "MR"
    }
    if len(single) < FEWEST_JOINED:
        return series, 0
    joined: dict[str, list[Image]] = {}
    taken: set[str] = set()
    for numbered in (True, False):
        groups: dict[Hashable, list[str]] = {}
        for uid, image in single.items():
            if uid not in taken and (image.header.series_number is not None or not numbered):
                number = image.header.series_number if numbered else None
                groups.setdefault((number, *_likeness_of(image)), []).append(uid)
        for uids in groups.values():
            images = [single[uid] for uid in uids]
            if len(uids) >= FEWEST_JOINED and (numbered or not _fault(images)):
                joined[min(uids)] = images
                taken |= set(uids)
    rest = {uid: images for uid, images in series.items() if uid not in taken}
    return rest | joined, len(taken)


def _study_of(image: Image) -> tuple[Hashable, ...]:
    return image.header.patient_id.strip(), image.header.study_uid, image.frame.number


def _sort_of(image: Image) -> tuple[Hashable, ...]:
    """Return what two copies share beside their pixels: size and timing."""
    frame = image.frame
    return image.shape, frame.repetition_time_ms, frame.echo_time_ms, frame.inversion_time_ms, frame.image_type


def _place_of(image: Image) -> tuple[float, ...]:
    return tuple(np.round(image.affine[:3, 3], 3).tolist())


def _likeness_of(image: Image) -> tuple[Hashable, ...]:
    header, axes = image.header, tuple(np.round(image.affine[:3, :3], 3).ravel().tolist())
    return header.words.description, header.frame_of_reference_uid, axes, *_sort_of(image)


def _first_of_each(
    images: Iterable[Image], key: Callable[[Image], Hashable], reader: MemberReader
) -> tuple[list[Image], list[Image]]:
    """Keep the first of equal images, which then answers to the UIDs of the others."""
    comparison = _Comparison(reader)
    groups: dict[Hashable, list[Image]] = {}
    for image in images:
        groups.setdefault((key(image), _place_of(image)), []).append(image)
    kept: list[Image] = []
    copies: list[Image] = []
    for group in groups.values():
        if len(group) == 1:
            kept += group
            continue
        # By their pixels first, so that many images of one place are not compared each with each.
        firsts: dict[bytes, list[int]] = {}
        for image in group:
            alike = firsts.setdefault(comparison.digest_of(image), [])
            place = next((place for place in alike if comparison.is_copy(image, kept[place])), None)
            if place is None:
                alike.append(len(kept))
                kept.append(image)
                continue
            copies.append(image)
            if image.header.sop_uid != kept[place].header.sop_uid:
                kept[place] = replace(kept[place], copies=(*kept[place].copies, image.header.sop_uid))
    return kept, copies


class _Comparison:
    """Compare images pixel by pixel, reading each file at most once, however many images share a place."""

    def __init__(self, reader: MemberReader) -> None:
        self._reader = reader
        self._digests: dict[StoredPixels, tuple[bytes, ...]] = {}

    def is_copy(self, image: Image, other: Image) -> bool:
        """Return whether two images have the same place and the same real values."""
        if image.shape != other.shape or not np.allclose(image.affine, other.affine, atol=1e-6):
            return False
        first, second = self.digest_of(image), self.digest_of(other)
        return bool(first) and first == second

    def digest_of(self, image: Image) -> bytes:
        """Return the digest of an image's real values; empty where its pixels cannot be read."""
        pixels = image.header.pixels
        if pixels not in self._digests:
            try:
                self._digests[pixels] = frame_digests(self._reader, image.member, pixels)
            except FileError:  # loading the series names the file whose pixels cannot be read
                self._digests[pixels] = (b"",) * pixels.layout.frames
        return self._digests[pixels][image.frame.number]


def _layouts(images: list[Image]) -> list[list[Image]]:
    """Divide images by orientation, pixel spacing and size."""
    found: list[list[Image]] = []
    axes = np.array([image.affine[:3, :3] for image in images])
    even = np.abs(axes - axes[0]).max() <= PARALLEL_TOLERANCE * np.abs(axes[0]).max()
    if even and len({image.shape for image in images}) == 1:
        return [images]
    for image in images:
        for group in found:
            first = group[0].affine[:3, :3]
            near = np.abs(image.affine[:3, :3] - first).max() <= PARALLEL_TOLERANCE * np.abs(first).max()
            if near and image.shape == group[0].shape:
                group.append(image)
                break
        else:
            found.append([image])
    planes = {plane_of_stack(group) for group in found}
    return [images] if len(planes - {Plane.MIXED}) == 3 or len(found) > MOST_LAYOUTS else found


def _line_of(images: Sequence[Image]) -> Callable[[Image], Hashable]:
    """Return a function that numbers the lines along the normal on which the first voxels of images lie."""

    @cache
    def numbers() -> dict[int, int]:
        lines: list[NDArray[np.float64]] = []
        found = {}
        normal = images[0].affine[:3, 0]
        for image in images:
            place = image.affine[:3, 3] - (image.affine[:3, 3] @ normal) * normal
            near = [number for number, line in enumerate(lines) if np.linalg.norm(line - place) <= SAME_LINE_MM]
            if not near:
                lines.append(place)
            found[id(image)] = near[0] if near else len(lines) - 1
        return found

    return lambda image: numbers()[id(image)]


def _divide_apart(stack: list[Image]) -> list[list[Image]]:
    """Divide a stack with a fault by acquisition, echo or line, where that leaves whole stacks that lie apart."""
    if len(stack) < 2 * FEWEST_JOINED or not _fault(stack):
        return [stack]
    for key in (_line_of(stack), *KEYS):
        groups: dict[Hashable, list[Image]] = {}
        for image in stack:
            groups.setdefault(key(image), []).append(image)
        parts = list(groups.values())
        whole = all(len(part) >= FEWEST_JOINED and not _fault(part) for part in parts)
        if len(parts) > 1 and whole and _lie_apart(parts):
            return parts
    return [stack]


def _lie_apart(parts: Sequence[Sequence[Image]]) -> bool:
    """Return whether stacks follow one another along their normal, and no missing slice explains the gap."""
    normal = parts[0][0].affine[:3, 0]
    spans = []
    for part in parts:
        places = sorted(float(image.affine[:3, 3] @ normal) for image in part)
        spans.append((places[0], places[-1], (places[-1] - places[0]) / (len(places) - 1)))
    spans.sort()
    line = _line_of([image for part in parts for image in part])
    if len({line(image) for part in parts for image in part}) == len(parts):
        return True
    for (_, end, step), (start, _, other) in itertools.pairwise(spans):
        missing = (start - end) / step
        if start <= end or (abs(step - other) < 0.01 * step and abs(missing - round(missing)) < 0.1):
            return False
    return True


def _fault(images: Sequence[Image]) -> str:
    ordered = order_along_normal(images)
    return fault_of_stack(ordered, rounding_of_images(ordered))


KEYS: tuple[Callable[[Image], Hashable], ...] = (
    lambda image: image.frame.echo_time_ms,
    lambda image: image.frame.image_type,
    lambda image: image.frame.acquisition,
    lambda image: image.frame.temporal_position,
    lambda image: (image.frame.repetition_time_ms, image.frame.inversion_time_ms, image.frame.echo_number),
)
