"""The program `coursebell`, which is also `python -m service`.

Loading takes a second or two, and Ctrl-C then ends it as quietly as later: hence the import
inside `try`.
"""

import os
import sys

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended

try:
    from workers.celery_environment import remove_celery_variables

    remove_celery_variables(os.environ)  # Celery reads its variables while it is imported
    from service.cli.main import main
except KeyboardInterrupt:
    sys.exit(INTERRUPTED)

if __name__ == "__main__":
    main()
