"""Studies that are open on the decide page: each belongs to one user, and is closed once that user is gone."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spinefx.app.contracts.deciding import ListedSeries, OpenedStudy
from spinefx.app.imagery import Imagery, VolumePair, describe_pair, describe_series
from spinefx.cases.alignment import AlignedSeries, align_series
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.errors import AccessError, SelectionError, UnavailableError
from spinefx.imaging.volume import Volume
from spinefx.localisation.searching import shipped_localiser
from spinefx.localisation.spine import LocatedSpine
from spinefx.second_opinion.intake import Opened
from spinefx.second_opinion.opinion import Opinion
from spinefx.second_opinion.saliency import SaliencyMap, saliency
from spinefx.signs.scoring import ScoredSigns
from spinefx.vocabulary import Weighting

__all__ = ["GivenOpinion", "OpenStudies", "OpenStudy"]

# An open page reports once a minute; a study without a report for this long is closed.
IDLE_S = 300.0
# Per user; the one that was left alone for longest goes first.
MOST_STUDIES, MOST_OPINIONS = 2, 10
# Of the voxels of all open studies. A study of 14 slices of 512 x 512 takes 29 MB.
MOST_BYTES = 2**29
# A page that is open reports once a minute; a study that did not is closed where room is needed.
LEFT_S = 90.0


@dataclass(eq=False)
class GivenOpinion:
    """An opinion that was given, kept for its saliency maps and its report.

    Parameters
    ----------
    name : str
        Random.
    opinion : Opinion
    given : str
        When, by the server's clock.
    maps : dict of int to SaliencyMap
        By place in the lesion, as far as they were requested.
    """

    name: str
    opinion: Opinion
    given: str
    maps: dict[int, SaliencyMap] = field(default_factory=dict)

    def map(self, position: int) -> SaliencyMap:
        """Return the saliency map of one lesion slice.

        Parameters
        ----------
        position : int
            From 0.

        Returns
        -------
        SaliencyMap

        Raises
        ------
        AccessError
            For a slice that the lesion does not have.
        """
        scored = self.opinion.scored
        if not 0 <= position < len(scored.stack.slices):
            raise AccessError("The lesion has no such slice")
        if position not in self.maps:
            self.maps[position] = saliency(scored.models, scored.stack, position)
        return self.maps[position]


@dataclass(eq=False)
class OpenStudy:
    """One study, for as long as its page is open.

    Parameters
    ----------
    name : str
        Random; it says nothing about the study.
    owner : str
        Code of the only user who may see it.
    title : str
        A participant's pseudonym, or that the user brought the study.
    opened : Opened
    participant_id : str or None
        The participant, where the study is one's, if need be recognised by its voxels.
    folder : tempfile.TemporaryDirectory or None
        Where its files are; None where they are the workspace's own.
    needed : tuple of Weighting
        The series that are read.
    phantom : bool
        Whether it is known to be a phantom: a participant of a phantom workspace.
    """

    name: str
    owner: str
    title: str
    opened: Opened
    participant_id: str | None
    folder: tempfile.TemporaryDirectory[str] | None
    needed: tuple[Weighting, ...] = PROTOCOL_SEQUENCES
    phantom: bool = False
    touched_s: float = field(default_factory=time.monotonic)
    handles: list[str] = field(default_factory=list)
    opinions: dict[str, GivenOpinion] = field(default_factory=dict)
    pictures: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    alignments: dict[tuple[object, ...], tuple[AlignedSeries, ...]] = field(default_factory=dict)
    readings: dict[str, ScoredSigns] = field(default_factory=dict)
    located: tuple[Volume, LocatedSpine] | None = None

    @property
    def voxel_bytes(self) -> int:
        """Bytes of its voxels."""
        return sum(one.array.nbytes for one in self.opened.volumes.values())

    @property
    def volumes(self) -> Mapping[Weighting, Volume]:
        """The series that were chosen.

        Raises
        ------
        SelectionError
            If a series that is needed is missing.
        """
        if not self.opened.volumes:
            raise SelectionError(self.opened.trouble, remedy="Choose the two series yourself, or open another study.")
        return self.opened.volumes

    @property
    def pair(self) -> VolumePair:
        """The two series that the page shows.

        Raises
        ------
        SelectionError
            As :attr:`volumes`.
        """
        return VolumePair(self.volumes[Weighting.T2W], self.volumes[Weighting.T1W])

    def describe(self, imagery: Imagery) -> OpenedStudy:
        """Describe the study for its page.

        Parameters
        ----------
        imagery : Imagery

        Returns
        -------
        OpenedStudy
            Without any identifier of the patient.
        """
        imagery.forget(self.handles)
        found, alone, pair = self.opened, None, None
        if found.volumes:
            pair = describe_pair(imagery, self.owner, self.pair, found.kinds)
        elif found.alone is not None:
            alone = describe_series(imagery, self.owner, found.alone, found.kinds[Weighting.T2W])
        self.handles = [one.handle for one in ([] if pair is None else [pair.t2w, pair.t1w])]
        self.handles += [] if alone is None else [alone.handle]
        return OpenedStudy(
            study=self.name,
            title=self.title,
            can_choose=self.folder is not None,
            series=[
                ListedSeries(label=one.label, use=one.use, reason=one.reason, kind=one.kind) for one in found.series
            ],
            refused_files=dict(found.refused_files),
            trouble=found.trouble,
            pair=pair,
            alone=alone,
            notes=list(found.notes),
            needed=[one.label for one in self.needed],
            phantom=self.phantom,
        )

    def aligned(self, lesion: Lesion, method: str) -> tuple[AlignedSeries, ...]:
        """Align every series at a lesion's box, or return the alignments found before.

        Parameters
        ----------
        lesion : Lesion
        method : str
            As for :func:`spinefx.imaging.registration.align`.

        Returns
        -------
        tuple of AlignedSeries

        Raises
        ------
        BoxError, RegistrationError
        """
        pair, box = self.pair, lesion.box
        lesion.check_inside(pair.t2w)
        key = (*box.centre_mm, box.side_mm, lesion.first_slice, lesion.last_slice, method)
        if key not in self.alignments:
            found = align_series(lesion, self.volumes, method=method)
            self.alignments = {key: found}  # only the last box is ever requested again
        return self.alignments[key]

    def spine(self) -> LocatedSpine:
        """Find the vertebrae of the T2W series, or return those found before.

        Returns
        -------
        LocatedSpine

        Raises
        ------
        SelectionError
            As :attr:`volumes`.
        LevelError
            When what was found cannot be a spine.
        """
        t2w = self.pair.t2w
        if self.located is None or self.located[0] is not t2w:
            self.located = t2w, shipped_localiser()(t2w)[0]
        return self.located[1]

    def show(self, draw: Callable[[], bytes]) -> str:
        """Name a picture for the page.

        Parameters
        ----------
        draw : callable
            Returns a PNG.

        Returns
        -------
        str
            Random.
        """
        name = secrets.token_urlsafe(12)
        self.pictures[name] = draw
        return name

    def keep_signs(self, name: str, found: ScoredSigns) -> None:
        """Keep the signs of a lesion, so that they can be overruled; the oldest of many are dropped.

        Parameters
        ----------
        name : str
            Random.
        found : ScoredSigns
        """
        self.readings[name] = found
        while len(self.readings) > MOST_OPINIONS:
            self.readings.pop(next(iter(self.readings)))

    def keep(self, given: GivenOpinion) -> None:
        """Keep an opinion; the oldest of many is dropped.

        Parameters
        ----------
        given : GivenOpinion
        """
        self.opinions[given.name] = given
        while len(self.opinions) > MOST_OPINIONS:
            self.opinions.pop(next(iter(self.opinions)))


class OpenStudies:
    """All open studies of a server.

    Parameters
    ----------
    imagery : Imagery
        Holds their images while they are open.
    idle_s : float
        Seconds without a request after which a study is closed and its files are removed.
    most_bytes : int
        Of the voxels of all studies.
    """

    def __init__(self, imagery: Imagery, idle_s: float = IDLE_S, most_bytes: int = MOST_BYTES) -> None:
        self._imagery, self._idle_s, self._most_bytes = imagery, idle_s, most_bytes
        self._studies: dict[str, OpenStudy] = {}
        self._lock = threading.Lock()
        self._watch: threading.Timer | None = None

    def add(
        self,
        owner: str,
        title: str,
        opened: Opened,
        participant_id: str | None = None,
        folder: tempfile.TemporaryDirectory[str] | None = None,
        *,
        needed: tuple[Weighting, ...] = PROTOCOL_SEQUENCES,
        phantom: bool = False,
    ) -> OpenStudy:
        """Add a study.

        Parameters
        ----------
        owner, title, opened, participant_id, folder, needed, phantom
            As in :class:`OpenStudy`.

        Returns
        -------
        OpenStudy

        Raises
        ------
        UnavailableError
            When studies that others are working on take all the memory that there is for studies.
        """
        name = secrets.token_urlsafe(12)
        study = OpenStudy(name, owner, title, opened, participant_id, folder, needed, phantom)
        with self._lock:
            others = sorted(self._studies.values(), key=lambda one: one.touched_s)
            own = [one for one in others if one.owner == owner]
            closed = own[: max(0, len(own) + 1 - MOST_STUDIES)]
            held = study.voxel_bytes + sum(one.voxel_bytes for one in others if one not in closed)
            left = time.monotonic() - LEFT_S
            for one in others:
                if held > self._most_bytes and one not in closed and (one.owner == owner or one.touched_s < left):
                    closed.append(one)
                    held -= one.voxel_bytes
            if held > self._most_bytes and len(others) > len(closed):
                raise UnavailableError(
                    "the studies that are open take all the memory that there is for them",
                    remedy="Try again in a few minutes.",
                )
            self._studies[study.name] = study
        self._close(closed)
        self._sweep()
        return study

    def find(self, name: str, owner: str) -> OpenStudy:
        """Find a user's study.

        Parameters
        ----------
        name, owner : str

        Returns
        -------
        OpenStudy

        Raises
        ------
        AccessError
            For an unknown name and for another user's: both get the same message.
        """
        with self._lock:
            found = self._studies.get(name)
        if found is None or found.owner != owner:
            raise AccessError("This study is not open", remedy="It may have been closed. Open it again.")
        found.touched_s = time.monotonic()
        return found

    def opinion(self, name: str, owner: str) -> tuple[OpenStudy, GivenOpinion]:
        """Find an opinion that a user was given.

        Parameters
        ----------
        name, owner : str

        Returns
        -------
        (OpenStudy, GivenOpinion)

        Raises
        ------
        AccessError
        """
        study = self._holding(owner, lambda one: name in one.opinions)
        return study, study.opinions[name]

    def signs(self, name: str, owner: str) -> ScoredSigns:
        """Find signs that were read for a user.

        Parameters
        ----------
        name, owner : str

        Returns
        -------
        ScoredSigns

        Raises
        ------
        AccessError
        """
        return self._holding(owner, lambda one: name in one.readings).readings[name]

    def picture(self, name: str, owner: str) -> bytes:
        """Draw a picture whose name a user was given.

        Parameters
        ----------
        name, owner : str

        Returns
        -------
        bytes

        Raises
        ------
        AccessError
        """
        return self._holding(owner, lambda one: name in one.pictures).pictures[name]()

    def close(self, name: str, owner: str) -> None:
        """Close a study and remove its files.

        Parameters
        ----------
        name, owner : str

        Raises
        ------
        AccessError
        """
        self._close([self.find(name, owner)])

    def close_all(self) -> None:
        """Close every study, because the server shuts down."""
        with self._lock:
            studies = list(self._studies.values())
        self._close(studies)
        self._sweep()

    def folders(self) -> list[Path]:
        """List the folders of open studies.

        Returns
        -------
        list of Path
        """
        with self._lock:
            return [Path(one.folder.name) for one in self._studies.values() if one.folder is not None]

    def _holding(self, owner: str, holds: Callable[[OpenStudy], bool]) -> OpenStudy:
        with self._lock:
            found = next((one for one in self._studies.values() if one.owner == owner and holds(one)), None)
        if found is None:
            raise AccessError("Not found", remedy="The study may have been closed. Open it again.")
        found.touched_s = time.monotonic()
        return found

    def _close(self, studies: Iterable[OpenStudy]) -> None:
        for study in studies:
            with self._lock:
                self._studies.pop(study.name, None)
            self._imagery.forget(study.handles)
            if study.folder is not None:
                study.folder.cleanup()

    def _sweep(self) -> None:
        """Close idle studies, and look again for as long as any is open."""
        late = time.monotonic() - self._idle_s
        with self._lock:
            idle = [one for one in self._studies.values() if one.touched_s < late]
        self._close(idle)
        with self._lock:
            if self._watch is not None:
                self._watch.cancel()
            self._watch = None
            if self._studies:
                self._watch = threading.Timer(self._idle_s / 5, self._sweep)
                self._watch.daemon = True
                self._watch.start()
