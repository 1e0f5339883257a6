"""The program `coursebell`, also run as `python -m service`.

The import takes a second or two. It stands inside `try` so that Ctrl-C during it prints no
traceback.
"""

import os
import sys

INTERRUPTED = 130  # the shell's exit code for a program that Ctrl-C ended

try:
    from workers.celery_environment import remove_celery_variables

    remove_celery_variables(os.environ)  # Celery reads its variables while it is imported
    from service.cli.main import main
except KeyboardInterrupt:
    sys.exit(INTERRUPTED)

if __name__ == "__main__":
    main()
