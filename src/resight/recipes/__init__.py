"""Recipes as TOML files; each opens with what to expect of it."""
