"""Where image files come from: a folder, or an archive read in place."""
