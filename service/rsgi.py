"""The web process's program: Granian imports it in its worker, where it makes the application."""

import gc
import os
from pathlib import Path

from workers.celery_environment import remove_celery_variables

gc.disable()  # until the end of this module; importing leaves nothing to collect
remove_celery_variables(os.environ)  # Celery reads its variables while it is imported

from schemas.notification import MAX_BYTES  # noqa: E402 - only after that line
from service.app import make_web  # noqa: E402 - only after that line
from service.bodies import BodyLimits  # noqa: E402 - only after that line
from service.front import RequestGate  # noqa: E402 - only after that line
from workers.environment import load  # noqa: E402 - only after that line
from workers.heartbeat import shared_lock  # noqa: E402 - only after that line
from workers.logs import set_up_logs  # noqa: E402 - only after that line

set_up_logs("web")
_settings = load(os.environ)
shared_lock(Path(_settings.data_dir))
front = RequestGate(make_web(_settings), BodyLimits(MAX_BYTES))
# What exists now stays until the process ends, so the garbage collector need not visit it again.
gc.collect()
gc.freeze()
gc.enable()
