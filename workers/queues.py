"""The names of queues and tasks that processes share. Changing one is a decision."""

WITHOUT_BROKER = "--without-broker"  # makes workers and scheduler one process

LOOKUP_DRAIN = "lookup.drain"  # read the records that changed, decide
ACTION_PERFORM = "action.perform"  # perform what is due
OUTBOX_SWEEP = (
    "outbox.sweep"  # settle what a lost worker left behind, and prove that workers respond
)
LEDGER_RETAIN = "ledger.retain"  # delete rows past their retention
SOURCE_PROBE = "source.probe"  # probe whether list rows are complete at this tenant
SOURCE_CHECK = "source.check"  # poll: list what changed
SOURCE_RECONCILE = "source.reconcile"  # compare everything, once a night
REPORTS_PLAN = "reports.plan"  # plan alerts, summaries and digests
REPORTS_SEND = "reports.send"  # send those that are due
HOOKS_CHECK = "hooks.guard"  # monitor the webhooks that call us

WORK = "work"  # lookups and actions
UPKEEP = "upkeep"  # tasks that may take minutes, which must not delay an email
QUEUES = (WORK, UPKEEP)  # every worker consumes both
UPKEEP_TASKS = (
    *(HOOKS_CHECK, LEDGER_RETAIN, REPORTS_PLAN, REPORTS_SEND),
    *(SOURCE_CHECK, SOURCE_PROBE, SOURCE_RECONCILE),
)


def queue_of(task: str) -> str:
    """Return the queue that wake-ups for this task go to."""
    return UPKEEP if task in UPKEEP_TASKS else WORK
