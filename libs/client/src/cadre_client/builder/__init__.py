"""Turns a description into a workflow file: a model plans, we compile the plan, the executor checks it."""

from cadre_client.builder.build import Attempt, Built, build_workflow
from cadre_client.builder.plans import Plan, PlannedInput, Step

__all__ = ["Attempt", "Built", "Plan", "PlannedInput", "Step", "build_workflow"]
