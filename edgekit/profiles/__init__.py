"""Target, device and calibration profiles: TOML files read into frozen dataclasses, without numpy or any runtime."""
