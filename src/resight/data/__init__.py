"""From files on disk to batches of pixels: readers, checks, the pixel cache and its loader."""
