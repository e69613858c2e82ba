"""Rest-frame templates of stars, galaxies and quasars for `spectromer.scan_redshift`."""

from spectromer.templates.sets import DEFAULT, TemplateSet, load, save

__all__ = ["DEFAULT", "TemplateSet", "load", "save"]
