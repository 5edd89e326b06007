"""Small charts as SVG, which take their colours from the page."""
