"""`python -m sandbox`: start the stand-in Nexudus and the mailbox, until stopped."""

import sys

from sandbox.program import main

if __name__ == "__main__":
    sys.exit(main())
