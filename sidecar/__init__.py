"""The OTLP receiver: journal, then acknowledge, then normalise, forward and show."""

from __future__ import annotations

import os

# gRPC's fork handlers only serve children that go on without exec, which we never start; they log noise instead
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
