"""A deterministic model server on loopback: it speaks the providers' HTTP, streams, calls tools, fails on request."""

from inferometer.testing.model_stub.brain import Brain, Failure, Reply, ToolUse
from inferometer.testing.model_stub.server import ModelStub

__all__ = ["Brain", "Failure", "ModelStub", "Reply", "ToolUse"]
