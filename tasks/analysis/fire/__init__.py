"""Everything of fires that is not a formula: events over nights, rules, layers, report."""
