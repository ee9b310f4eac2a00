"""Everything of lesions and patients that is not a formula."""
