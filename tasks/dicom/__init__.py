"""DICOM in: files to series, series to volumes, references to masks. No other folder of scenes knows pydicom."""
