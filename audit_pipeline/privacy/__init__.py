"""Privacy: pseudonyms and their key, names that may be printed, masks over secrets, and turning a token back on the record."""

from audit_pipeline.privacy.masks import MASKED, mask, masked
from audit_pipeline.privacy.names import UNLISTED, shown_names

__all__ = ["MASKED", "UNLISTED", "mask", "masked", "shown_names"]
