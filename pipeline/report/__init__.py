"""The run report: one page, made from what a run left in its folder."""
