"""Everything of crops that is not a formula: fields, samples, plans, layers, report."""
