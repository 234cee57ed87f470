"""The door to the cluster: what is asked there is the object that was named, and no other thing."""

from __future__ import annotations

import pytest

from receiver.clients import cluster
from receiver.demo.kubernetes import ApiServer, RealClock
from receiver.domain.errors import PermanentError
from receiver.domain.plans import ObjectRef


@pytest.mark.parametrize("name", ["api-1/log", "api-1/../../secrets/key", "..", ".", "api%2Flog"])
async def test_a_name_that_leads_elsewhere_is_never_asked_for(name: str) -> None:
    async with ApiServer(clock=RealClock()) as api:
        door = await cluster.connect(url=api.url)
        with pytest.raises(PermanentError, match="is not a valid object name"):
            await door.get(ObjectRef("v1", "Pod", "shop", name))
        await door.close()
        assert not list(api.calls)
