"""What the gateway tells of its own work: metrics, logs, spans. A leaf: it imports nothing of ours.

Nothing here ever holds a key, a namespace, a prompt or a reply.
"""

from memgpt_proxy.telemetry.metrics import Telemetry

__all__ = ["Telemetry"]
