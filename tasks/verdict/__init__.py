"""Verdicts on inputs before any work is done on them."""

from tasks.verdict.check import check_files, check_inputs
from tasks.verdict.verdict import Verdict, merge

__all__ = ["Verdict", "check_files", "check_inputs", "merge"]
