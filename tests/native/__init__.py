"""The compiled core, by its contract in `aiotls._native`."""
