"""Demands of a contract on a name in vLLM; each need is one small frozen record."""

from __future__ import annotations

from value_steer.contracts.needs.attributes import AssignedFrom, Assigns, Constructible, Fields
from value_steer.contracts.needs.behaviour import Calls, Compares, Contains
from value_steer.contracts.needs.classes import Extensible, Implementable
from value_steer.contracts.needs.definitions import (
    Accepts,
    DefinedBy,
    Exists,
    IsClass,
    Need,
    Parameters,
    Property,
)
from value_steer.contracts.needs.order import Order

__all__ = [
    "Accepts",
    "AssignedFrom",
    "Assigns",
    "Calls",
    "Compares",
    "Constructible",
    "Contains",
    "DefinedBy",
    "Exists",
    "Extensible",
    "Fields",
    "Implementable",
    "IsClass",
    "Need",
    "Order",
    "Parameters",
    "Property",
]
