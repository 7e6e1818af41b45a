"""Physics of the acquisition, measured on simple objects: each effect has the requested strength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from spinefx.phantom.canvas import Canvas, coverage
from spinefx.phantom.random_streams import PhantomSettings, draw_case
from spinefx.phantom.scanner import Coil, Protocol, acquire, acquisition_grid, image_affine
from spinefx.phantom.tissue import Sequence, TissueSignals

Array = NDArray[np.float64]
T1W = Sequence("se", 400, 15)
PLAIN = Protocol(
    sequence=T1W,
    description="T1",
    samples=(320, 192),
    matrix=512,
    fov_mm=300.0,
    slices=3,
    spacing_mm=4.4,
    thickness_mm=4.0,
    bandwidth_hz=122.0,
    fat_offset_hz=0.0,
    frequency_axis="SI",
    polarity=1,
    noise=0.0,
    saturation=1.0,
    saturation_mm=30.0,
    ghost=0.0,
    ghost_shift=0.25,
    gain=400.0,
    thin=3,
    painted=320,
    filter_edge=3.0,  # so far out that it does nothing
    filter_width=0.05,
    reverse=False,
)
SIDE = PLAIN.painted
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)
NOWHERE = np.zeros((SIDE, SIDE), np.float32)


def scan(protocol: Protocol, water: Array, fat: Array = NOWHERE, *, coil: Coil | None = None, seed: int = 1) -> Array:
    """Acquire one slice, rows head to foot, columns front to back, with the lesion in the middle; in signal units."""
    mm = protocol.fov_mm / SIDE
    place = ((COLUMNS - SIDE / 2) * mm, (SIDE / 2 - ROWS) * mm)
    rng = np.random.default_rng(seed)
    image = acquire(protocol, coil or Coil.uniform(), (water.astype(np.float32), fat.astype(np.float32)), place, rng)
    return np.asarray(image, float) / protocol.gain * TissueSignals(protocol.sequence).reference


def disc(row: float, column: float, radius: float) -> Array:
    """One inside, zero outside, with an edge as wide as a sample."""
    return np.clip(radius - np.hypot(ROWS - row, COLUMNS - column) + 0.5, 0, 1)


def centroid(image: Array) -> Array:
    """Row and column, in pixels."""
    return np.array(ndimage.center_of_mass(np.where(image > 0.2 * image.max(), image, 0)))


def flat(value: float) -> Array:
    return np.full((SIDE, SIDE), value, np.float32)


@pytest.mark.parametrize(("bandwidth", "samples", "field"), [(97.7, 320, 1.5), (162.8, 320, 1.5), (122.0, 256, 3.0)])
@pytest.mark.parametrize(("axis", "polarity"), [("SI", 1), ("SI", -1), ("AP", 1), ("AP", -1)])
def test_fat_is_displaced_by_frequency_offset_over_bandwidth(
    axis: str, polarity: int, bandwidth: float, samples: int, field: float
) -> None:
    offset_hz = 220 / 1.5 * field
    protocol = replace(
        *(PLAIN,), samples=(samples, 192), bandwidth_hz=bandwidth, frequency_axis=axis, polarity=polarity
    )
    body = disc(SIDE / 2, SIDE / 2, 40)
    water, fat = 0.4 * (1 - body), 0.5 * body

    def place(hertz: float) -> Array:
        shifted = replace(protocol, fat_offset_hz=hertz)
        return centroid(scan(shifted, water, fat) - scan(shifted, water))  # what fat alone adds to the water

    moved = (place(offset_hz) - place(0.0)) * samples / protocol.matrix  # in acquired pixels
    expected = polarity * offset_hz / bandwidth
    along, across = (0, 1) if axis == "SI" else (1, 0)
    assert moved[along] == pytest.approx(expected, abs=0.1)
    assert moved[across] == pytest.approx(0, abs=0.02)
    stated_mm = replace(protocol, fat_offset_hz=offset_hz).fat_shift_mm
    assert stated_mm == pytest.approx(expected * protocol.fov_mm / samples)


def test_suppressed_fat_is_not_displaced() -> None:
    stir = replace(PLAIN, sequence=Sequence("stir", 4000, 40, 150.0, 10, 9.0), fat_offset_hz=220.0)
    assert stir.fat_shift_mm == 0


@pytest.mark.parametrize("snr", [22.0, 44.0])
@pytest.mark.parametrize(("samples", "matrix"), [((320, 192), 512), ((256, 256), 256), ((300, 216), 384)])
def test_noise_has_the_requested_strength(snr: float, samples: tuple[int, int], matrix: int) -> None:
    protocol = replace(PLAIN, noise=1 / snr, samples=samples, matrix=matrix)
    reference = TissueSignals(T1W).reference
    signal = scan(protocol, flat(reference))
    assert signal.mean() / signal.std() == pytest.approx(snr, rel=0.03)
    # Rayleigh in air (Gudbjartsson and Patz 1995): mean and standard deviation follow from the complex noise.
    air = scan(protocol, NOWHERE)
    assert air.mean() == pytest.approx(np.sqrt(np.pi / 2) * reference / snr, rel=0.03)
    assert air.mean() / air.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.03)


def test_zero_filling_correlates_noise_between_neighbours() -> None:
    def likeness(protocol: Protocol) -> float:
        noise = scan(replace(protocol, noise=0.03), flat(0.2))
        noise = noise - noise.mean()
        return float((noise[:, 1:] * noise[:, :-1]).mean() / noise.var())  # along phase: 192 of 512 samples

    assert likeness(PLAIN) == pytest.approx(np.sinc(192 / 512), abs=0.03)
    assert likeness(replace(PLAIN, samples=(512, 512))) == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("samples", "matrix"), [((320, 192), 512), ((448, 224), 512), ((320, 224), 384)])
def test_zero_filling_does_not_move_objects(samples: tuple[int, int], matrix: int) -> None:
    protocol = replace(PLAIN, samples=samples, matrix=matrix)
    for row, column in ((100.0, 200.0), (161.3, 77.8)):
        found = centroid(scan(protocol, disc(row, column, 12.4)))
        assert found * SIDE / matrix == pytest.approx([row, column], abs=0.05)


def test_rendered_and_reconstructed_grids_agree_in_millimetres() -> None:
    affine = image_affine(PLAIN, np.array([3.0, -20.0, 40.0]), np.eye(3))
    shape, grid = acquisition_grid(PLAIN, affine)
    assert shape == (9, SIDE, SIDE)
    scale = PLAIN.matrix / SIDE
    for index in ((0, 0, 0), (1, 160, 40), (2, 319, 7)):
        middle = grid @ [3 * index[0] + 1, index[1], index[2], 1]
        assert affine @ [index[0], index[1] * scale, index[2] * scale, 1] == pytest.approx(middle)
    assert affine @ [1, 255.5 - 0.3, 255.5 - 0.3, 1] == pytest.approx([3, -20, 40, 1], abs=0.06)


@pytest.mark.parametrize("thin", [1, 3])
def test_a_slanted_edge_is_the_mean_of_its_thin_slices(thin: int) -> None:
    protocol = replace(PLAIN, thin=thin)
    shape, grid = acquisition_grid(protocol, image_affine(protocol, np.zeros(3), np.eye(3)))
    canvas = Canvas(shape, grid, thin)
    whole = canvas.whole()
    x, y, _ = whole.spine()
    # The edge is oblique: across a slice it moves by three quarters of the slice thickness.
    canvas.blend(whole, np.ones(1), 0.3, 0.0)
    canvas.blend(whole, coverage(y - 0.75 * x, canvas.pixel_mm), 0.6, 0.0)
    water, _ = canvas.slices()
    assert np.abs(water[1] - canvas.water[thin : 2 * thin].mean(axis=0)).max() < 1e-6
    together = scan(protocol, water[1])
    apart = [scan(protocol, canvas.water[thin + part]) for part in range(thin)]
    assert np.abs(together - np.mean(apart, axis=0)).max() < 2e-3
    # The edges of the thin slices lie a third of a slice apart, so the averaged edge is that much wider.
    row = water[1][SIDE // 2]
    width = float(((row > 0.33) & (row < 0.57)).sum()) * canvas.pixel_mm
    expected = 0.75 * protocol.spacing_mm * (thin - 1) / thin
    assert width == pytest.approx(expected, abs=2 * canvas.pixel_mm)


@pytest.mark.parametrize("strength", [0.02, 0.08])
@pytest.mark.parametrize("axis", ["SI", "AP"])
def test_ghosts_of_anterior_tissue_lie_along_phase_with_the_requested_strength(strength: float, axis: str) -> None:
    column = SIDE / 2 - 60 * SIDE / 300  # 60 mm anterior to the lesion, in front of the edge of the band
    protocol = replace(PLAIN, ghost=strength, ghost_shift=0.2, frequency_axis=axis)
    # Soft edges, because the ringing of sharp ones would add to the ghost.
    front, back = (
        ndimage.gaussian_filter(disc(*middle, 10), 2) for middle in ((SIDE / 2, column), (SIDE / 2 + 40, SIDE / 2 + 40))
    )
    difference = scan(protocol, 0.5 * (front + back)) - scan(replace(protocol, ghost=0.0), 0.5 * (front + back))
    scale = PLAIN.matrix / SIDE
    step = 0.2 * PLAIN.matrix
    along = np.array([0, 1]) if axis == "SI" else np.array([1, 0])  # phase is what frequency is not
    start = np.array([SIDE / 2, column]) * scale
    for share, places in ((strength, 1), (strength / 2, -2)):
        row, col = (round(value) % PLAIN.matrix for value in start + places * step * along)
        here = difference[row - 3 : row + 4, col - 3 : col + 4].mean()
        assert here == pytest.approx(0.5 * share, rel=0.05)
    assert np.abs(scan(replace(protocol, ghost=0.0), 0.5 * back) - scan(protocol, 0.5 * back)).max() < 1e-6


def test_the_saturation_band_acts_only_in_front_of_its_edge() -> None:
    image = scan(replace(PLAIN, saturation=0.2, saturation_mm=30.0), flat(0.3))
    mm = PLAIN.fov_mm / PLAIN.matrix
    profile = image[256] / scan(PLAIN, flat(0.3))[256]
    behind = (np.arange(PLAIN.matrix) - PLAIN.matrix / 2) * mm
    assert np.abs(profile[(behind < -60) & (behind > -130)] - 0.2).max() < 0.01
    assert np.abs(profile[(behind > 0) & (behind < 130)] - 1).max() < 0.01
    middle = behind[np.argmin(np.abs(profile - 0.6)[20:-20]) + 20]
    assert middle == pytest.approx(-30, abs=1.5)


def test_coil_sensitivity_falls_with_depth_and_correction_raises_the_noise_there() -> None:
    coil = Coil(depth_mm=100.0, length_mm=1e6, ripple=0.0, ripple_phase=0.0, correction=0.0)
    bare = scan(PLAIN, flat(0.3), coil=coil)[256]
    mm = PLAIN.fov_mm / PLAIN.matrix
    for behind in (-80.0, -20.0, 40.0):
        deep = (60 - behind) / 100
        expected = 0.3 * (1 + 0.6**2) / (1 + deep**2)
        assert bare[round(256 + behind / mm)] == pytest.approx(expected, rel=0.02)
    noisy = replace(PLAIN, noise=0.03)
    even = replace(coil, correction=1.0)
    assert np.abs(scan(PLAIN, flat(0.3), coil=even)[:, 100:412] - 0.3).max() < 0.006  # the sides of the image ring
    corrected = scan(noisy, flat(0.3), coil=even)
    assert corrected[:, 60:120].std() > 1.5 * corrected[:, 390:450].std()


def test_the_echo_train_blurs_along_phase_only() -> None:
    train = replace(PLAIN, sequence=Sequence("fse", 3200, 90, 0, 16, 10.5))
    point = 0.3 + 0.3 * disc(SIDE / 2, SIDE / 2, 3)
    ratio = np.abs(np.fft.fft2(scan(train, point)) / np.fft.fft2(scan(PLAIN, point)))
    for share in (0.25, 0.5, 0.75):
        assert ratio[0, round(share * 96)] == pytest.approx(np.exp(-0.35 * share), rel=0.01)
        assert ratio[round(share * 96), 0] == pytest.approx(1, rel=0.01)


def test_fat_in_a_patients_image_shifts_twice_as_far_at_3_t() -> None:
    low, high = (draw_case(PhantomSettings(patients=3, seed=5, field_t=field), 2).t1w for field in (1.5, 3.0))
    body = 0.5 * disc(SIDE / 2, SIDE / 2, 40)

    def moved(protocol: Protocol) -> Array:
        quiet = replace(protocol, noise=0.0, ghost=0.0, painted=SIDE, matrix=512, saturation=1.0)
        return centroid(scan(quiet, NOWHERE, body)) - centroid(scan(replace(quiet, fat_offset_hz=0.0), NOWHERE, body))

    assert np.abs(moved(low)).max() > 1
    assert moved(high) == pytest.approx(2 * moved(low), abs=0.1)
