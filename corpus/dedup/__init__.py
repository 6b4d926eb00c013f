"""Duplicates: exact and near duplicates, captures of one page, boilerplate lines."""
