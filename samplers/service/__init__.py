"""The sampler service: in line, in a thread or in a process, with the same results."""

from samplers.service.service import Service

__all__ = ["Service"]
