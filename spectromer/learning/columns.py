"""Units and descriptions of the columns that `Predictor.predict` returns."""

import re
from collections.abc import Sequence

from astropy.table import Table

__all__ = ["describe_columns"]

_WORDS = {"class": "class", "subclass": "subclass", "spectral_type": "spectral type"}
_COLUMNS: dict[str, tuple[str, str]] = {
    "path": ("", "file or shard of the spectrum"),
    "id": ("", "identifier of the spectrum within its survey"),
    "survey": ("", "survey"),
    "class": ("", "STAR, GALAXY or QSO"),
    "subclass": ("", "most probable subclass of the class"),
    "spectral_type": ("", "most probable spectral type of the class"),
    "z": ("", "redshift"),
    "z_err": ("", "half the width of the 68 % interval of z"),
    "z_lo68": ("", "lower end of the 68 % interval of z"),
    "z_hi68": ("", "upper end of the 68 % interval of z"),
    "z_lo95": ("", "lower end of the 95 % interval of z"),
    "z_hi95": ("", "upper end of the 95 % interval of z"),
    "z_prob": ("", "probability that z is right to 1000 km/s (quasars: 3000 km/s)"),
    "z_flag": ("", "0 if good; bits: 1 unsure, 2 end of range, 4 unknown, 8 no data"),
    "z_scan": ("", "redshift by the least chi-square of templates"),
    "z_scan_err": ("", "statistical error of z_scan"),
    "z_scan_flag": ("", "bits: 1 unsure, 2 disagrees with the transformer"),
    "z_crps": ("", "CRPS of the distribution of ln(1 + z)"),
    "z_pit": ("", "cumulative probability at the true redshift"),
    "teff": ("K", "effective temperature"),
    "teff_err": ("K", "error of teff"),
    "logg": ("dex", "log10 of the surface gravity in cm/s2"),
    "logg_err": ("dex", "error of logg"),
    "feh": ("dex", "metallicity [Fe/H]"),
    "feh_err": ("dex", "error of feh"),
    "typical": ("", "fraction of held-out spectra that are at least as unusual"),
    "unknown": ("", "whether it resembles no training spectrum"),
    "warning": ("", "what may spoil the answer"),
}
_PROBABILITY = re.compile(r"(class|subclass|spectral_type)_prob(?:_(.+))?")


def describe_columns(table: Table, names: Sequence[str] | None = None) -> Table:
    """Give columns of predictions, by default all, their units and descriptions, and return the table."""
    for name in names or table.colnames:
        unit, text = _COLUMNS.get(name, ("", ""))
        if match := _PROBABILITY.fullmatch(name):
            text = f"probability that the {_WORDS[match[1]]} is {match[2] or 'this one'}"
        table[name].info.unit, table[name].info.description = unit or None, text or None
    return table
