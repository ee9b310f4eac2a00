"""The error tree of the work itself; every text says what, where and how to mend it.

SwatheError (models.errors)
├── JobError                   a job file that cannot be run as written
├── FitError                   a fitted network that does not tell classes apart; it is not written
├── LeakError                  scenes that are held back, and of which something would be fitted
├── SceneError                 one input that cannot be segmented; costs that scene only
│   ├── UnreadableSceneError   damaged, truncated, a Git-LFS pointer, no format we know
│   ├── UnreachableSceneError  cannot be read at the moment: a network, a mount
│   ├── UndeclaredError        leads to a file or URL that neither the user named nor the operator allows
│   ├── ChangedSceneError      its files were replaced while they were read
│   ├── UnsupportedSceneError  readable, but of a kind swathe does not segment (4-D, RGB-typed)
│   │   └── SeriesError        a series of DICOM that is no volume, by code (tasks.dicom.findings)
│   ├── BandError              a band that the job needs is not there
│   ├── ImpossibleValuesError  numbers that cannot be the quantity that job or model say they are
│   ├── EmptySceneError        zero-sized, or no valid pixel at all
│   ├── ConstantSceneError     one value everywhere: there is nothing to tell apart
│   ├── WarnedSceneError       can be segmented, but has a warning, and the run is strict
│   ├── SampleError            reference samples that do not go with the map, or carry no variance
│   ├── PolygonError           polygons without a CRS, in another place than the map, or damaged
│   ├── GeometryError          a header that contradicts itself about the size of voxels
│   ├── GridError              two masks that do not lie on one grid
│   ├── OversizedSceneError    declares more pixels than its file or this machine can hold
│   └── IdentifyingError       cannot be freed of what names a patient
├── CatalogueError             a catalogue of scenes that is not there or cannot be searched
├── InboxError                 a folder that scenes arrive in is not there or cannot be listed
├── ClusterError               a running Dask cluster that cannot be used, or is lost
├── AuditError                 an audit log that cannot be continued
├── PlanError                  tile, halo, overlap and block that do not fit together, or the model
├── StoreError                 work in progress that cannot be continued
│   ├── DiskFullError          the disk, or somebody's quota of it, is full
│   └── HeldFolderError        another run is writing into the folder
├── KeyFileError               the institution's key is missing, open to others, or lies where results do
└── ProductError               a product that was written but does not verify
"""

from models.errors import SwatheError


class JobError(SwatheError):
    """A job file cannot be run as written."""


class FitError(SwatheError):
    """A fitted network does not tell classes apart."""


class LeakError(SwatheError):
    """Something of a scene that is held back would be fitted: the same patient, ground, bytes or pixels."""


class SceneError(SwatheError):
    """One input cannot be segmented."""


class UnreadableSceneError(SceneError):
    """The file is damaged or of no known format."""


class UnreachableSceneError(SceneError):
    """The file cannot be read at the moment, and perhaps can be later."""


class UndeclaredError(SceneError):
    """It leads to a file or URL that neither the user named nor the operator allows."""


class ChangedSceneError(SceneError):
    """The scene's files were replaced while they were read."""


class UnsupportedSceneError(SceneError):
    """The file is readable but of a kind that swathe does not segment."""


class BandError(SceneError):
    """A band that the job needs is not there."""


class ImpossibleValuesError(SceneError):
    """A band holds numbers that cannot be what it is said to hold."""


class EmptySceneError(SceneError):
    """The scene has no valid pixel."""


class ConstantSceneError(SceneError):
    """The scene holds one value everywhere."""


class WarnedSceneError(SceneError):
    """The scene has a warning, and the run is strict."""


class SampleError(SceneError):
    """Reference samples do not go with the map, or cannot carry an estimate."""


class PolygonError(SceneError):
    """Polygons cannot be laid over the map."""


class GeometryError(SceneError):
    """A header says two things of the size of its voxels."""


class GridError(SceneError):
    """Two masks do not lie on one grid."""


class OversizedSceneError(SceneError):
    """The scene declares more pixels than can be."""


class IdentifyingError(SceneError):
    """A DICOM file cannot be freed of what names a patient, or nobody knows whether it is.

    Attributes:
        code: The reason in one word, for tables.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class AuditError(SwatheError):
    """An audit log cannot be continued."""


class CatalogueError(SwatheError):
    """A catalogue of scenes is not there or cannot be searched."""


class InboxError(SwatheError):
    """A folder that scenes arrive in is not there or cannot be listed."""


class ClusterError(SwatheError):
    """A running Dask cluster cannot be used, or was lost."""


class PlanError(SwatheError):
    """The tiling does not fit together, or does not fit the model."""


class StoreError(SwatheError):
    """Work in progress cannot be continued."""


class DiskFullError(StoreError):
    """The disk, or somebody's quota of it, is full."""


class HeldFolderError(StoreError):
    """Another run is writing into the folder."""


class KeyFileError(SwatheError):
    """The institution's key cannot be used."""


class ProductError(SwatheError):
    """A product was written but does not verify."""
