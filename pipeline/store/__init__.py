"""Files that outlive a run, in a folder or in an object store."""
