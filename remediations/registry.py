"""Every remediation there is: our own in one list, and those of outside packages (see `plugins`)."""

from __future__ import annotations

from receiver.domain.plans import Spec
from receiver.domain.remediation import ClusterReader, DatabaseReader, EndpointReader, Remediation
from remediations import plugins
from remediations.cnpg import expand as cnpg_expand
from remediations.cnpg import scale as cnpg_scale
from remediations.http import warm_up
from remediations.kubernetes import cordon, evict, expand, restart, rollback, scale, set_env, set_resources
from remediations.postgres import cancel_query, terminate_idle

SPECS: tuple[Spec, ...] = (
    rollback.SPEC,
    scale.SPEC,
    set_env.SPEC,
    restart.SPEC,
    set_resources.SPEC,
    evict.SPEC,
    cordon.SPEC,
    expand.SPEC,
    cnpg_expand.SPEC,
    cnpg_scale.SPEC,
    terminate_idle.SPEC,
    cancel_query.SPEC,
    warm_up.SPEC,
)


def build(
    cluster: ClusterReader, databases: DatabaseReader, endpoints: EndpointReader
) -> dict[str, Remediation]:
    """The remediations by name, each with the door it needs."""
    built: list[Remediation] = [
        rollback.Rollback(cluster),
        scale.Scale(cluster, databases),
        set_env.SetEnv(cluster, databases),
        restart.Restart(cluster),
        set_resources.SetResources(cluster),
        evict.Evict(cluster),
        cordon.Cordon(cluster),
        expand.Expand(cluster),
        cnpg_expand.Expand(cluster),
        cnpg_scale.Scale(cluster),
        terminate_idle.TerminateIdle(databases),
        cancel_query.CancelQuery(databases),
        warm_up.WarmUp(cluster, endpoints),
    ]
    built += [plugin.build(cluster, databases) for plugin in _plugins()]
    return {remediation.spec.name: remediation for remediation in built}


def catalogue() -> dict[str, Spec]:
    """What each declares of itself, without a door: enough to check policies against."""
    return {spec.name: spec for spec in (*SPECS, *(plugin.spec for plugin in _plugins()))}


def _plugins() -> tuple[plugins.Plugin, ...]:
    return plugins.checked(SPECS, plugins.installed())
