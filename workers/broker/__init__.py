"""The broker on this machine: which one to take, and a launcher of our own for it.

It is a real server that speaks the Redis protocol. We start the binary ourselves, because
the Python layer around it lets the server outlive a killed parent. Nothing is kept on disk:
the broker only rings the bell, and the ledger knows what is due.
"""

from workers.broker.choice import BrokerChoice, BrokerKind, choose
from workers.broker.running import RunningBroker, start

__all__ = ["BrokerChoice", "BrokerKind", "RunningBroker", "choose", "start"]
