"""The pages of operators: one module for each, its templates in a folder beside them."""
