"""Getting the official images, and describing images of any source, before anything is run on them."""
