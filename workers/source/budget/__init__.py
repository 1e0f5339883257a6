"""The budget of requests to the source: one for all programs, and never unlimited.

What others need of it; the rooms below say how it is kept.
"""

from workers.source.budget.limiter import Budget
from workers.source.budget.values import Budgeting, BudgetState, Patience, Spent, Urgency

__all__ = ["Budget", "BudgetState", "Budgeting", "Patience", "Spent", "Urgency"]
