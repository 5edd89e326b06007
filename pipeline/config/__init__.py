"""The configuration tree; defaults are the values of Dsouza & Ansari (2022)."""
