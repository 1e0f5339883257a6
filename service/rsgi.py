"""The process entry point of the web server: makes the application inside the server's worker."""

import os
from pathlib import Path

from workers.celery_environment import remove_celery_variables

remove_celery_variables(os.environ)  # Celery reads its variables while it is imported

from schemas.notification import MOST_BYTES  # noqa: E402 - only after that line
from service.bodies import BodyLimits  # noqa: E402 - only after that line
from service.front import Front  # noqa: E402 - only after that line
from service.web import make_web  # noqa: E402 - only after that line
from workers.continuity import share_lock  # noqa: E402 - only after that line
from workers.environment import load  # noqa: E402 - only after that line
from workers.logs import set_up_logs  # noqa: E402 - only after that line

set_up_logs("web")
_settings = load(os.environ)
share_lock(Path(_settings.data_dir))
front = Front(make_web(_settings), BodyLimits(MOST_BYTES))
