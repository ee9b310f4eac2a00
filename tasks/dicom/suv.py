"""Standardised uptake values of PET, by body weight, or why there are none."""

from __future__ import annotations

from tasks.dicom.findings import Finding, SeriesError
from tasks.dicom.series import Series

_GRAMS_PER_KG = 1000.0
_BELIEVED_KG = (0.5, 700.0)
_LONGEST_UPTAKE_S = 86_400.0


def suv_factor(series: Series) -> float:
    """Return what values are multiplied by to become SUV by body weight, in g/ml.

    Weight times 1000 over the injected dose, decayed to the time that the scanner corrected its values to: the
    series' time for ``START`` (the acquisition's, where reprocessing made the series' a later one), that of the
    injection for ``ADMIN``. QIBA, SUV computation, vendor-neutral pseudo-code.

    Raises:
        SeriesError: When the headers do not allow it.
    """
    dose = series.dose
    if dose is None:
        raise _impossible(f"{series.modality} has none; only PET does")
    if dose.units == "GML":
        return 1.0
    if dose.units != "BQML":
        raise _impossible(f"Units are {dose.units}, not BQML")
    if not {"ATTN", "DECY"} <= set(dose.corrected) and not {"ATTN", "DECAY"} <= set(dose.corrected):
        raise _impossible("values are not corrected for attenuation and decay, by CorrectedImage")
    if dose.weight_kg is None or not _BELIEVED_KG[0] <= dose.weight_kg <= _BELIEVED_KG[1]:
        raise _impossible("PatientWeight is missing, or not believed")
    if dose.dose_bq is None or dose.dose_bq <= 0:
        raise _impossible("RadionuclideTotalDose is missing")
    return dose.weight_kg * _GRAMS_PER_KG / (dose.dose_bq * _left(series))


def _left(series: Series) -> float:
    """Return the share of the dose that is left at the time that values were corrected to."""
    dose = series.dose
    if dose is None or dose.decay_correction == "ADMIN":
        return 1.0
    if dose.decay_correction != "START":
        raise _impossible(f"DecayCorrection is {dose.decay_correction}, neither START nor ADMIN")
    if dose.half_life_s is None or dose.half_life_s <= 0:
        raise _impossible("RadionuclideHalfLife is missing")
    times = [time for time in (dose.series_s, dose.acquired_s) if time is not None]
    if dose.injected_s is None or not times:
        raise _impossible("the time of injection or of the series is missing")
    waited = min(times) - dose.injected_s
    if not 0 <= waited <= _LONGEST_UPTAKE_S:
        raise _impossible(f"{waited / 60:.0f} minutes from injection to scan are not believed")
    return float(2.0 ** (-waited / dose.half_life_s))


def _impossible(reason: str) -> SeriesError:
    return SeriesError(Finding("suv_impossible", f"no SUV: {reason}"))
