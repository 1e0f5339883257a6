"""Data shapes and shared vocabulary: records, events, reasons, errors, rules, settings. No I/O."""
