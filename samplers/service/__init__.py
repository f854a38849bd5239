"""The sampler service: runs a sampler inline, in a thread or in a process, with the same results."""

from samplers.service.service import Service

__all__ = ["Service"]
