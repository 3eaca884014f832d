"""Which values there may be: parameters with defaults and comments, types in words, tables of what records hold."""
