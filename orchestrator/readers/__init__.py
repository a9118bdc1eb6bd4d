"""Readers of the journal: folds over facts, each for one kind of question; they decide nothing and write nothing."""
