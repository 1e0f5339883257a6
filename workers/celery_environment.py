"""Removes the environment variables that Celery and its libraries read.

On a machine that also runs another Celery application, these variables belong to that application:
`CELERY_BROKER_URL` alone would silently connect our workers to its broker. Most are read while
Celery is imported, so each of our programs removes them before that. This module must therefore
never import Celery, directly or through another module.
"""

from collections.abc import MutableMapping

_PREFIXES = ("CELERY_", "KOMBU_")  # Celery's command line reads CELERY_ and any option's name
# Every other name in celery, kombu, billiard and their libraries; a test compares this list with
# the installed sources.
_NAMES = frozenset(
    {
        "APP",
        "AUTOSCALE_KEEPALIVE",
        "BROKER_URL",
        "CLICK_PLUGINS_HONESTLY",
        "CONFIG_MODULE",
        "C_BENCH",
        "C_BENCH_EVERY",
        "C_FAKEFORK",
        "C_FORCE_ROOT",
        "C_IMPDEBUG",
        "C_REMDEBUG",
        "C_STRICT_APP",
        "C_WARN_APP",
        "C_WNOCONF",
        "DISABLE_TRACEBACKS",
        "DJANGO_PROJECT_DIR",
        "DJANGO_SETTINGS_MODULE",
        "EVENTLET_NOBLOCK",
        "FORKED_BY_MULTIPROCESSING",
        "LOADER",
        "MP_LOG",
        "MP_MAIN_FILE",
        "MULTIPROCESSING_FORKING_DISABLE",
        "NOSETPS",
        "PICKLE_PROTOCOL",
        "REMAP_SIGTERM",
        "RESULT_BACKEND",
        "SKIP_CHECKS",
        "TIMER_DEBUG",
        "USE_FAST_LOCALS",
        "_MP_FORK_LOGFILE_",
        "_MP_FORK_LOGFORMAT_",
        "_MP_FORK_LOGLEVEL_",
    }
)


def is_read_by_celery(name: str) -> bool:
    """Return whether Celery or one of its libraries takes settings from this variable."""
    return name.startswith(_PREFIXES) or name in _NAMES


def let_actions_finish(environ: MutableMapping[str, str]) -> None:
    """Let SIGTERM finish the email being sent, and return a task that takes too long.

    Call it before Celery is imported, which then treats SIGTERM as SIGQUIT, a soft shutdown.
    """
    environ["REMAP_SIGTERM"] = "SIGQUIT"


def remove_celery_variables(environ: MutableMapping[str, str]) -> None:
    """Remove every variable that Celery reads. Call it before Celery is imported."""
    for name in [name for name in environ if is_read_by_celery(name)]:
        del environ[name]
