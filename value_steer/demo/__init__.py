"""Proof on one's own machine: train, calibrate, serve and measure where the truth is known."""

from value_steer.demo.errors import DemoError
from value_steer.demo.options import Backend, DemoOptions
from value_steer.demo.report import DemoReport
from value_steer.demo.run import run_demo

__all__ = ["Backend", "DemoError", "DemoOptions", "DemoReport", "run_demo"]
