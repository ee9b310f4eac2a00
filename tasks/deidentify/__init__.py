"""DICOM without what names a patient: rules as data, keyed pseudonyms, and what was done to which file."""
