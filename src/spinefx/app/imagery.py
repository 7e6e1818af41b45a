"""Images as the pages draw them: where each slice lies, and its stored numbers."""

from __future__ import annotations

import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spinefx.app.contracts.images import GreyWindow, ImagePair, SeriesImage
from spinefx.errors import AccessError
from spinefx.imaging.volume import Volume
from spinefx.vocabulary import Weighting

__all__ = ["Imagery", "Shown", "VolumePair", "describe_pair", "describe_series"]

# Quantiles of the voxels at which the window opens: black below the first, white above the second.
WINDOW_SHARES = (0.01, 0.995)
# A pair of 14 slices of 512 x 512 takes 29 MB.
MOST_BYTES = 2**29


@dataclass(frozen=True, eq=False)
class VolumePair:
    """T2W and T1W of one study, as read.

    Parameters
    ----------
    t2w, t1w : Volume
    """

    t2w: Volume
    t1w: Volume

    @property
    def shared_frame(self) -> bool:
        """Whether both name the same frame of reference, so that headers alone place one on the other."""
        return bool(self.t2w.frame_of_reference) and self.t2w.frame_of_reference == self.t1w.frame_of_reference


@dataclass(frozen=True, eq=False)
class Shown:
    """One series as it is sent to a page.

    Parameters
    ----------
    owner : str
        Code of the only user who may fetch it.
    volume : Volume
    slope, intercept : float
        Signal is the stored number times the slope, plus the intercept.
    """

    owner: str
    volume: Volume
    slope: float
    intercept: float

    def pixels(self, index: int) -> NDArray[np.uint16]:
        """Return the stored numbers of a slice.

        Parameters
        ----------
        index : int
            From 0, ordered by position.

        Returns
        -------
        ndarray of uint16, shape (row, column)

        Raises
        ------
        AccessError
            For a slice that the series does not have.
        """
        if not 0 <= index < self.volume.shape[0]:
            raise AccessError(f"slice {index} does not exist", allowed=f"0 to {self.volume.shape[0] - 1}")
        stored = (self.volume.array[index] - self.intercept) / self.slope
        pixels: NDArray[np.uint16] = np.rint(stored).astype(np.uint16)
        return pixels


class Imagery:
    """Volumes in memory under random names; the least recently used are dropped first.

    Parameters
    ----------
    most : int
        Pairs kept.
    names : int
        Series that one user may hold at a time: a named series stays in memory, so no user can crowd out another.
    most_bytes : int
        Of all voxels, those of kept pairs and of named series together. Beyond it the pairs that were not used for
        longest go first, then names of whoever holds most; what was just asked for always stays.
    """

    def __init__(self, most: int = 24, names: int = 12, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_names, self._most_bytes = most, names, most_bytes
        self._pairs: OrderedDict[Hashable, VolumePair] = OrderedDict()
        self._names: OrderedDict[str, Shown] = OrderedDict()
        self._lock = threading.Lock()

    def pair(self, key: Hashable, read: Callable[[], VolumePair]) -> VolumePair:
        """Return a pair, reading it where it is not in memory.

        Parameters
        ----------
        key : hashable
        read : callable
            Called where the pair is not in memory.

        Returns
        -------
        VolumePair
        """
        with self._lock:
            if key in self._pairs:
                self._pairs.move_to_end(key)
                return self._pairs[key]
        found = read()
        with self._lock:
            self._pairs[key] = found
            while len(self._pairs) > self._most:
                self._pairs.popitem(last=False)
            self._make_room()
        return found

    @property
    def held_bytes(self) -> int:
        """Bytes of all voxels in memory; an array that several names share counts once."""
        with self._lock:
            return self._held_bytes()

    def hand_out(self, owner: str, volume: Volume) -> str:
        """Name a series for one user.

        Parameters
        ----------
        owner : str
            Code of the user.
        volume : Volume

        Returns
        -------
        str
            A new random name, which reveals neither the case nor that two users see the same one.
        """
        low, high = float(volume.array.min()), float(volume.array.max())
        is_whole = low >= 0 and high <= 65535 and bool((volume.array == np.rint(volume.array)).all())
        slope, intercept = (1.0, 0.0) if is_whole else (max(high - low, 1e-6) / 65535, low)
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._names[name] = Shown(owner, volume, slope, intercept)
            own = [one for one, shown in self._names.items() if shown.owner == owner]
            for old in own[: -self._most_names]:
                del self._names[old]
            self._make_room()
        return name

    def _held_bytes(self) -> int:
        volumes = [one for pair in self._pairs.values() for one in (pair.t2w, pair.t1w)]
        arrays = [one.array for one in (*volumes, *(shown.volume for shown in self._names.values()))]
        return sum({id(array): array.nbytes for array in arrays}.values())

    def _make_room(self) -> None:
        """Drop what is least needed until everything fits. The lock must be held."""
        while self._held_bytes() > self._most_bytes:
            if len(self._pairs) > 1:
                self._pairs.popitem(last=False)
                continue
            held: Counter[str] = Counter()
            for shown in self._names.values():
                held[shown.owner] += shown.volume.array.nbytes
            most = max(held, key=lambda owner: held[owner], default="")
            own = [name for name, shown in self._names.items() if shown.owner == most]
            # Whoever has but the pair on the screen keeps it for as long as possible; the pair just asked for stays.
            leaving = own[:-2] or list(self._names)[:-2]
            if not leaving:
                return
            del self._names[leaving[0]]

    def forget(self, names: Iterable[str]) -> None:
        """Withdraw some names.

        Parameters
        ----------
        names : iterable of str
        """
        with self._lock:
            for name in names:
                self._names.pop(name, None)

    def shown(self, name: str, owner: str) -> Shown:
        """Find the series that a user holds under a name.

        Parameters
        ----------
        name : str
        owner : str

        Returns
        -------
        Shown

        Raises
        ------
        AccessError
            For an unknown name and for another user's: both get the same message.
        """
        with self._lock:
            found = self._names.get(name)
            if found is not None:
                self._names.move_to_end(name)
        if found is None or found.owner != owner:
            raise AccessError("Image not found", remedy="Open the case again.")
        return found


def describe_pair(
    imagery: Imagery, owner: str, pair: VolumePair, kinds: Mapping[Weighting, str] | None = None
) -> ImagePair:
    """Name both series of a pair for a user, and describe where their slices lie.

    Parameters
    ----------
    imagery : Imagery
    owner : str
    pair : VolumePair
    kinds : mapping of Weighting to str, optional
        What the series show, where it is known better than by what they are used as.

    Returns
    -------
    ImagePair
    """
    shown = kinds or {}
    return ImagePair(
        t2w=describe_series(imagery, owner, pair.t2w, shown.get(Weighting.T2W, "")),
        t1w=describe_series(
            imagery, owner, pair.t1w, shown.get(Weighting.T1W, ""), frame="a" if pair.shared_frame else "b"
        ),
        shared_frame=pair.shared_frame,
    )


def describe_series(
    imagery: Imagery, owner: str, volume: Volume, kind: str = "", *, frame: Literal["a", "b"] = "a"
) -> SeriesImage:
    """Name a series for a user, and describe where its slices lie.

    Parameters
    ----------
    imagery : Imagery
    owner : str
    volume : Volume
    kind : str
        What it shows; by default its weighting.
    frame : {'a', 'b'}
        Series with the same letter share a frame of reference.

    Returns
    -------
    SeriesImage
    """
    name = imagery.hand_out(owner, volume)
    shown = imagery.shown(name, owner)
    slices, rows, columns = volume.shape
    low, high = (float(value) for value in np.quantile(volume.array[:, ::4, ::4], WINDOW_SHARES))
    return SeriesImage(
        handle=name,
        weighting=str(volume.weighting),
        kind=kind or volume.weighting.label,
        rows=rows,
        columns=columns,
        row_spacing_mm=volume.spacing_mm[1],
        column_spacing_mm=volume.spacing_mm[2],
        row_cosines=volume.directions[:, 2].tolist(),
        column_cosines=volume.directions[:, 1].tolist(),
        positions_mm=volume.to_mm([(index, 0, 0) for index in range(slices)]).tolist(),
        frame=frame,
        slope=shown.slope,
        intercept=shown.intercept,
        window=GreyWindow(low=low, high=max(high, low + 1e-6)),
    )
