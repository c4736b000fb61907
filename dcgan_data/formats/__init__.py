"""What is on disk, and nothing else: manifest, shards, dataset.json, and the state of an unfinished run."""
