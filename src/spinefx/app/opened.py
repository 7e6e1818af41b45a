"""Studies that are open on the decide page: each belongs to one user, and goes when that user has gone."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinefx.app.imagery import Imagery, VolumePair, describe_pair
from spinefx.cases.alignment import AlignedSeries, align_series
from spinefx.cases.lesion import Lesion
from spinefx.errors import AccessError, SelectionError
from spinefx.imaging.volume import Volume
from spinefx.second_opinion.intake import Opened
from spinefx.second_opinion.opinion import Opinion
from spinefx.second_opinion.saliency import SaliencyMap, saliency
from spinefx.vocabulary import Weighting

__all__ = ["Answer", "OpenStudies", "OpenStudy", "new_folder"]

# A page that is open says so each minute.
IDLE_S = 300.0
# Of one user at once; the one untouched for longest goes.
MOST_STUDIES, MOST_ANSWERS = 2, 10
FOLDER = "spinefx-study-"


@dataclass(eq=False)
class Answer:
    """One opinion that was given, kept for its saliency and its report.

    Parameters
    ----------
    name : str
    opinion : Opinion
    given : str
        When, by the server's clock.
    maps : dict of int to SaliencyMap
        By place in the lesion, as far as they were asked for.
    """

    name: str
    opinion: Opinion
    given: str
    maps: dict[int, SaliencyMap] = field(default_factory=dict)

    def map(self, position: int) -> SaliencyMap:
        """Give the saliency of one lesion slice.

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
            raise AccessError("no such slice of the lesion")
        if position not in self.maps:
            self.maps[position] = saliency(scored.models, scored.stack, position)
        return self.maps[position]


@dataclass(eq=False)
class OpenStudy:
    """One study, as long as its page is open.

    Parameters
    ----------
    name : str
        Random; says nothing of the study.
    owner : str
        Code of the only user who may ask for it.
    title : str
        A participant's pseudonym, or that it was brought along.
    opened : Opened
    participant_id : str or None
        Who it is, where it is a participant, recognised by its voxels if need be.
    folder : tempfile.TemporaryDirectory or None
        Where its files lie; None where they are the study folder's own.
    """

    name: str
    owner: str
    title: str
    opened: Opened
    participant_id: str | None
    folder: tempfile.TemporaryDirectory[str] | None
    touched_s: float = field(default_factory=time.monotonic)
    handles: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    pictures: dict[str, Callable[[], bytes]] = field(default_factory=dict)
    alignments: dict[tuple[object, ...], tuple[AlignedSeries, ...]] = field(default_factory=dict)

    @property
    def volumes(self) -> Mapping[Weighting, Volume]:
        """The series that were chosen.

        Raises
        ------
        SelectionError
            Where one that is needed is missing.
        """
        if not self.opened.volumes:
            raise SelectionError(self.opened.trouble, remedy="Choose the series by hand, or open another study.")
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

    def describe(self, imagery: Imagery) -> dict[str, Any]:
        """Say what the page shows of it.

        Parameters
        ----------
        imagery : Imagery

        Returns
        -------
        dict
            Ready for JSON; no identifier of the patient in it.
        """
        imagery.forget(self.handles)
        pair = describe_pair(imagery, self.owner, self.pair) if self.opened.volumes else None
        self.handles = [] if pair is None else [pair["t2w"]["handle"], pair["t1w"]["handle"]]
        return {
            "study": self.name,
            "title": self.title,
            "can_choose": self.folder is not None,
            "series": [{"label": one.label, "use": one.use, "reason": one.reason} for one in self.opened.series],
            "refused_files": dict(self.opened.refused_files),
            "trouble": self.opened.trouble,
            "pair": pair,
        }

    def aligned(self, lesion: Lesion, method: str) -> tuple[AlignedSeries, ...]:
        """Align every series for a lesion's box, once.

        Parameters
        ----------
        lesion : Lesion
        method : str
            As :func:`spinefx.imaging.registration.align` takes it.

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
            self.alignments = {key: found}  # only the last box is ever asked for again
        return self.alignments[key]

    def show(self, draw: Callable[[], bytes]) -> str:
        """Name a picture for the page.

        Parameters
        ----------
        draw : callable
            Gives a PNG.

        Returns
        -------
        str
            Random.
        """
        name = secrets.token_urlsafe(12)
        self.pictures[name] = draw
        return name

    def keep(self, answer: Answer) -> None:
        """Keep an answer; the oldest of many is let go.

        Parameters
        ----------
        answer : Answer
        """
        self.answers[answer.name] = answer
        while len(self.answers) > MOST_ANSWERS:
            self.answers.pop(next(iter(self.answers)))


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a private folder for somebody's files; what servers that were killed left behind is removed first.

    Returns
    -------
    tempfile.TemporaryDirectory
        Named by this process.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}[0-9]*-*") if hasattr(os, "getuid") else ():
        number = left.name.removeprefix(FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):
            if number.isdecimal() and left.stat().st_uid == os.getuid() and not _is_alive(int(number)):
                shutil.rmtree(left)
    return tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


class OpenStudies:
    """All open studies of a server.

    Parameters
    ----------
    imagery : Imagery
        Holds their images as long as they are open.
    idle_s : float
        A study that nobody asks for so long is closed, and its files are removed.
    """

    def __init__(self, imagery: Imagery, idle_s: float = IDLE_S) -> None:
        self._imagery, self._idle_s = imagery, idle_s
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
    ) -> OpenStudy:
        """Take a study in.

        Parameters
        ----------
        owner, title, opened, participant_id, folder
            As :class:`OpenStudy` has them.

        Returns
        -------
        OpenStudy
        """
        study = OpenStudy(secrets.token_urlsafe(12), owner, title, opened, participant_id, folder)
        with self._lock:
            self._studies[study.name] = study
            own = sorted((one for one in self._studies.values() if one.owner == owner), key=lambda one: one.touched_s)
        self._close(own[:-MOST_STUDIES])
        self._sweep()
        return study

    def find(self, name: str, owner: str) -> OpenStudy:
        """Find somebody's study.

        Parameters
        ----------
        name, owner : str

        Returns
        -------
        OpenStudy

        Raises
        ------
        AccessError
            For an unknown name, and for somebody else's: the answer is the same.
        """
        with self._lock:
            found = self._studies.get(name)
        if found is None or found.owner != owner:
            raise AccessError("no such open study of yours", remedy="It may have been closed: open it again.")
        found.touched_s = time.monotonic()
        return found

    def answer(self, name: str, owner: str) -> tuple[OpenStudy, Answer]:
        """Find an answer that somebody got.

        Parameters
        ----------
        name, owner : str

        Returns
        -------
        (OpenStudy, Answer)

        Raises
        ------
        AccessError
        """
        study = self._holding(owner, lambda one: name in one.answers)
        return study, study.answers[name]

    def picture(self, name: str, owner: str) -> bytes:
        """Draw a picture that somebody was shown the name of.

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
        """Close every study, for the server ends."""
        with self._lock:
            studies = list(self._studies.values())
        self._close(studies)
        self._sweep()

    def folders(self) -> list[Path]:
        """List where files of open studies lie.

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
            raise AccessError("nothing of that name for you", remedy="The study may have been closed: open it again.")
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
        """Close what nobody asks for; look again as long as anything is open."""
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
