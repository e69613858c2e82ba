"""Configuration of the documentation: `sphinx-build -W -b html docs OUT`."""

import sys
from pathlib import Path

import spectromer

sys.path.insert(0, str(Path(__file__).parent))
import gallery

project, author = "Spectromer", "the Spectromer authors"
version = release = spectromer.__version__
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax"]
html_theme = "pydata_sphinx_theme"
html_title = "Spectromer"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_theme_options = {"show_toc_level": 2, "navbar_end": ["theme-switcher"], "show_prev_next": False}
html_show_sourcelink = False
exclude_patterns = ["_build", "README.md"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections hold the types
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]  # links of pages to files of the repository

gallery.draw(Path(__file__).parent / "_static" / "gallery")
