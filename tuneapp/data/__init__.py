"""Image sets: where they come from, how they are split, and batches of them on the device.

`tuneapp.data.batches` needs torch; the rest does not.
"""

from tuneapp.data.datasets import DATASETS, Listing, Verification, available, load, names, verify
from tuneapp.data.image_sets import ImageSet, data_folder
from tuneapp.data.imports import Imported, import_images
from tuneapp.data.splits import stratified_split, stratified_subset

__all__ = [
    "DATASETS",
    "ImageSet",
    "Imported",
    "Listing",
    "Verification",
    "available",
    "data_folder",
    "import_images",
    "load",
    "names",
    "stratified_split",
    "stratified_subset",
    "verify",
]
