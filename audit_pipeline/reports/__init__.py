"""Reports: one versioned model from which page, mail and CSV are made, so that their numbers cannot disagree."""
