"""Where spectra for training come from: survey files, catalogues and the simulated survey."""
