"""Hand a prepared set on: its kept images, or which records they come from, in formats of other programs.

    stylegan-zip   one .zip of uncompressed PNGs with dataset.json: StyleGAN 2 and 3, EDM
    webdataset     a directory of .tar files: pictures, labels, keys
    imagefolder    a directory for each label, and metadata.jsonl: Hugging Face, torchvision
    parquet        tables with an image column: Hugging Face
    keys           kept.txt and removed.txt, to filter the original by
    lmdb           the original records that are kept, byte for byte

Images are in the order of the manifest. The same set gives the same bytes, whatever the number of workers.
"""

from dcgan_data.export.running import export
from dcgan_data.export.settings import FORMATS, ExportResult, ExportSettings

__all__ = ["FORMATS", "ExportResult", "ExportSettings", "export"]
