"""Look photos up in a prepared set: which of its images, kept or removed, show the same picture?

A photo is decoded exactly as the set's own records were. It is seen through the views of the near rule, also
beyond its border; the codes of these views are compared with the codes of all images; and the images with the
nearest codes are checked by their pixels, as ``dedup`` does. Nothing of the set is changed.
"""

from dcgan_data.query.answers import Answer, Match, QueryResult, QuerySettings
from dcgan_data.query.asking import query

__all__ = ["Answer", "Match", "QueryResult", "QuerySettings", "query"]
