"""The action `nexudus-note`: a note on the member's record in Nexudus, for the staff."""
