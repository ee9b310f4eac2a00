"""Results as DICOM objects: segmentations (SEG) and measurement reports (SR TID 1500)."""
