"""A living sample company, to see and to try things on."""

from taximeter.demo.show import run_demo

__all__ = ["run_demo"]
