"""The labels of SDSS: their columns, and the rules of its catalogues and of its legacy files."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from spectromer.labels import MANY_OUTLIERS
from spectromer.surveys.survey import REDSHIFT
from spectromer.surveys.tables import Columns, text

__all__ = ["FIT", "SPSPEC_CLASSES", "SPSPEC_SKY", "TARGET_TYPES", "adapted_labels", "spspec_warning"]

SPSPEC_CLASSES = {1: "STAR", 2: "GALAXY", 3: "QSO", 4: "QSO", 6: "STAR"}  # SPEC_CLN; 0 unknown, 5 sky
SPSPEC_SKY = 5
_SPSPEC_FAILED = (0, 1, 2)  # Z_STATUS
TARGET_TYPES = ("OBJTYPE", "TARGETTYPE")  # columns that tell a sky fibre where SOURCETYPE does not
# Targets selected as galaxies (bits of BOSS_TARGET1: GAL_LOZ, GAL_CMASS, GAL_CMASS_COMM, GAL_CMASS_SPARSE,
# GAL_CMASS_ALL; SOURCETYPE of eBOSS), whose redshifts without quasar templates are the survey's recommended ones.
_GALAXY_TARGETS = sum(1 << bit for bit in (0, 1, 2, 3, 7))
_GALAXY_SOURCES = ("LRG", "GALAXY")
# The labels of the pipeline's fit, with the spellings of specObj and spAll, of SkyServer and of the Data Lab (SPARCL);
# and of its fit without quasar templates, where the mark stands at the end or after Z, as in Z_NOQSO_ERR.
FIT = {
    "class": ("CLASS", "SPECTYPE"),
    "subclass": ("SUBCLASS",),
    "z": REDSHIFT,
    "z_err": ("Z_ERR", "ZERR", "REDSHIFT_ERR"),
    "zwarning": ("ZWARNING", "Z_WARNING", "ZWARN", "REDSHIFT_WARNING"),
}
_MARKS = ("_NOQSO", "NOQSO")


def _noqso(name: str) -> tuple[str, ...]:
    """The spellings of a column of the fit without quasar templates, given that of the usual fit."""
    head, _, tail = name.partition("_")
    inner = tuple(f"{head}{mark}_{tail}" for mark in _MARKS) if head in ("Z", "REDSHIFT") and tail else ()
    return (*(f"{name}{mark}" for mark in _MARKS), *inner)


_NOQSO = {label: tuple(spelling for name in names for spelling in _noqso(name)) for label, names in FIT.items()}
# Columns that only catalogues of quasars have. They give redshifts without a class.
_QUASAR_CATALOG = ("Z_VI", "Z_PIPE", "Z_QN", "ZWARN_PIPE", "BI_CIV")
_QUASAR_FLAG = "IS_QSO_FINAL"  # 1 for quasars, in catalogues of quasars and of other objects


def adapted_labels(table: Columns, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Adapt the labels in the columns of a catalogue to the kind of the catalogue.

    Targets selected as galaxies have those of the *_NOQSO columns. Catalogues of quasars have the class QSO.
    """
    if "class" not in labels and not table.keys().isdisjoint(_QUASAR_CATALOG):
        return _quasar_labels(table, labels)
    if "class" not in labels and "SPECCLASS" in table:
        return _legacy_labels(table, labels)
    kinds = next((text(table[name]) for name in TARGET_TYPES if name in table), None)
    if "sourcetype" not in labels and kinds is not None:
        labels["sourcetype"] = kinds
    galaxies = _galaxy_targets(table)
    if galaxies is not None:
        for label, names in _NOQSO.items():
            fit = next((table[name] for name in names if name in table), np.full(len(galaxies), np.nan))
            if label in labels:
                labels[label] = _where(galaxies, fit, labels[label])
    return labels


def spspec_warning(header: Mapping[str, Any]) -> Any:
    """Z_WARNIN, whose bits mean something else than those of ZWARNING; bit 0 is set where MANY_OUTLIERS would be read.

    The warning is 1 if Z_STATUS says that the redshift was not measured, failed or is inconsistent.
    """
    warning = header.get("Z_WARNIN")
    if header.get("Z_STATUS") in _SPSPEC_FAILED:
        return 1
    return warning | 1 if isinstance(warning, int) and warning & MANY_OUTLIERS else warning


def _galaxy_targets(table: Columns) -> np.ndarray | None:
    """Mask [rows] of the rows whose recommended labels are in the *_NOQSO columns; None without such columns."""
    column = next((name for name in _NOQSO["class"] if name in table), None)
    if column is None or table.keys().isdisjoint(_NOQSO["z"]):
        return None
    fitted = text(table[column]) != ""
    chosen = np.zeros(len(fitted), bool)
    if "BOSS_TARGET1" in table:
        bits = np.nan_to_num(np.ma.filled(table["BOSS_TARGET1"], 0))
        chosen |= (bits.astype(np.int64) & _GALAXY_TARGETS) != 0
    if "SOURCETYPE" in table:
        chosen |= np.isin(text(table["SOURCETYPE"]), _GALAXY_SOURCES)
    galaxies: np.ndarray = fitted & chosen
    return galaxies


def _quasar_labels(table: Columns, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The labels of a catalogue of quasars: class and z, without the flags of the pipeline's fit; and the position."""
    labels = {name: values for name, values in labels.items() if name not in FIT or name == "z"}
    if "z" not in labels and "Z_VI" in table:
        labels["z"] = table["Z_VI"]
    if "z" in labels:
        quasars = np.ones(len(labels["z"]), bool)
        if _QUASAR_FLAG in table:
            quasars = np.ma.filled(table[_QUASAR_FLAG], 0) == 1
        labels["class"] = np.where(quasars, "QSO", "")
    return labels


def _legacy_labels(table: Columns, labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The labels of a table of DR1 to DR7, with classes as numbers and flags that are not those of ZWARNING."""
    numbers = np.ma.filled(table["SPECCLASS"], 0).tolist()
    labels["class"] = np.array([SPSPEC_CLASSES.get(number, "") for number in numbers])
    labels["sourcetype"] = np.array(["SKY" if number == SPSPEC_SKY else "" for number in numbers])
    if "zwarning" in labels:
        warning = np.ma.filled(labels["zwarning"], 0).astype(np.int64)
        labels["zwarning"] = np.where(warning & MANY_OUTLIERS, warning | 1, warning)
    return labels


def _where(chosen: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Values [rows] of one of two columns, either of which may be text or a masked array."""
    if not {yes.dtype.kind, no.dtype.kind} <= set("iuf"):
        return np.where(chosen, text(yes), text(no))
    mask = np.where(chosen, np.ma.getmaskarray(yes), np.ma.getmaskarray(no))
    values = np.where(chosen, np.ma.getdata(yes), np.ma.getdata(no))
    return np.ma.masked_array(values, mask) if mask.any() else values
