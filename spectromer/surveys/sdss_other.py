"""Files of SDSS that are known and not read: each is refused by its name, so that no other reader takes it."""

from collections.abc import Sequence

from spectromer.errors import LayoutError
from spectromer.surveys.fits import Hdu

__all__ = ["refuse_other"]


def refuse_other(hdus: Sequence[Hdu]) -> None:
    """Refuse a file of SDSS in another layout than spec and spSpec.

    Raises
    ------
    LayoutError
        When the file is one of the APOGEE survey (apStar, apVisit, aspcapStar, allStar, and their as* counterparts), of
        the Milky Way Mapper (mwmStar, mwmVisit, astraStar, mwmAllStar), or an spPlate file.
    """
    header = hdus[0].header
    tables = [hdu.columns.keys() for hdu in hdus[1:5]]
    spectra = any({"FLUX", "IVAR"} <= columns or "MODEL_FLUX" in columns for columns in tables)
    if "V_ASTRA" in header or any({"SDSS_ID", "V_ASTRA"} <= columns for columns in tables):
        if not spectra:
            raise LayoutError("a catalogue of SDSS-V's Milky Way Mapper, without spectra")
        raise LayoutError(
            "a file of SDSS-V's Milky Way Mapper (mwmStar, mwmVisit or astraStar), whose spectra are in the rest frame "
            "of the star and are not read; use the spec files"
        )
    if any("APOGEE_ID" in columns for columns in tables):
        raise LayoutError("a catalogue of APOGEE (allStar or allVisit), without spectra")
    units = [str(hdu.header.get("BUNIT", "")).upper() for hdu in hdus[1:2]]
    if (
        "APRED" in header
        or "APOGEE" in str(header.get("SURVEY", header.get("TELESCOP", ""))).upper()
        or (
            units
            and units[0].startswith("FLUX")
            and ("NVISITS" in header or "SDSS" in str(header.get("SURVEY", "")).upper())
        )
    ):
        raise LayoutError("a file of APOGEE (apStar, apVisit or aspcapStar), whose infrared spectra are not read")
    many = header.get("NAXIS") == 2 and "PLATEID" in header and "COEFF0" in header and "FIBERID" not in header
    if many or (header.get("NAXIS") == 2 and any({"FIBERID", "OBJTYPE"} <= columns for columns in tables)):
        raise LayoutError("an spPlate file with the spectra of a whole plate; use its spec files")
