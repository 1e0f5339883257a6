"""Every shape at a border, and the words the whole house shares. No I/O happens here."""
