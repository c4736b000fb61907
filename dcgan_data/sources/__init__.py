"""Sources yield (key, bytes, label) in a stable order, split into shards of a fixed number of records."""

from dcgan_data.sources.base import Record, Shard, Source, SourceOptions
from dcgan_data.sources.detect import open_source

__all__ = ["Record", "Shard", "Source", "SourceOptions", "open_source"]
