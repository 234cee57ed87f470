"""A small Kubernetes API server that behaves: for the tests, and for the demo as shipped.

It speaks real HTTP on loopback, knows versions, conflicts, dry runs and patches as a real control plane does
(recordings of one hold it to that), and runs a Deployment controller on a clock that is passed in. It makes
trouble when ordered to: late, lost or refused answers. It is no cluster: nothing ever runs.
"""

from receiver.demo.kubernetes.access import Access, Grant, User
from receiver.demo.kubernetes.calls import Applied, Call
from receiver.demo.kubernetes.clocks import RealClock, SteppedClock
from receiver.demo.kubernetes.faults import Fault
from receiver.demo.kubernetes.pods import Health, image_health, is_ready
from receiver.demo.kubernetes.resources import JsonObject
from receiver.demo.kubernetes.server import ApiServer
from receiver.demo.kubernetes.status import ApiError
from receiver.demo.kubernetes.world import World

__all__ = [
    "Access",
    "ApiError",
    "ApiServer",
    "Applied",
    "Call",
    "Fault",
    "Grant",
    "Health",
    "JsonObject",
    "RealClock",
    "SteppedClock",
    "User",
    "World",
    "image_health",
    "is_ready",
]
