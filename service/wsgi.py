"""The process entry point of the web server: makes the application inside the server's worker."""

import atexit
import os

from service.web import make_web
from workers.environment import load
from workers.logs import set_up_logs

set_up_logs("web")
_web = make_web(load(os.environ))
atexit.register(_web.close)
app = _web.app
