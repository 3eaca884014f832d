"""The papers' tables: data files in configs/tables, filled from networks and records."""
