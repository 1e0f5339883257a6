"""The names that processes share: the queue and the tasks. A rename is a decision."""

WITHOUT_BROKER = "--without-broker"  # makes workers and clock one process
QUEUE = "coursebell"  # the Procfile's worker consumes it

LOOKUP_DRAIN = "lookup.drain"  # read the records that changed, decide
ACTION_PERFORM = "action.perform"  # perform what is due
OUTBOX_SWEEP = "outbox.sweep"  # settle what was left behind, and show that workers work
LEDGER_RETAIN = "ledger.retain"  # forget what has been kept long enough
SOURCE_PROBE = "source.probe"  # find out what this tenant's answers may be used for
SOURCE_CHECK = "source.check"  # look ourselves for what changed
SOURCE_RECONCILE = "source.reconcile"  # hold all that is there against all that is here
HOOKS_GUARD = "hooks.guard"  # look after the webhooks that call us
