"""`stanch why` and `stanch why-not`: what spoke for a plan, and what speaks against doing anything."""

from __future__ import annotations

from receiver.cli.options import DEFAULT_URL, As, IncidentId, Output, PlanId, TokenFile, Url, examples

WHY_EXAMPLES = examples("stanch why P-17", "stanch why P-17 --output json | jq '.guards[]'")
WHY_NOT_EXAMPLES = examples("stanch why-not 17", "stanch why-not 17 --output json | jq -r .answer")


def why(plan: PlanId, url: Url = DEFAULT_URL, token_file: TokenFile = None, output: As = Output.TEXT) -> None:
    """Say why a plan is proposed: what was passed over for it, and what every guard saw."""
    from receiver.cli.client import connect
    from receiver.terminal import cards, reasons, screen

    service = connect(url, token_file)
    found = service.get(f"/plans/{plan}")
    answer = reasons.why(found, service.timeline(int(found.get("incident", 0))))
    if output is Output.JSON:
        return screen.print_json(answer)
    screen.out().print(cards.why_card(answer))
    return None


def why_not(
    incident: IncidentId, url: Url = DEFAULT_URL, token_file: TokenFile = None, output: As = Output.TEXT
) -> None:
    """Say why nothing was done in an incident, or not yet: every cure and guard with its reason."""
    from receiver.cli.client import connect
    from receiver.terminal import cards, reasons, screen

    service = connect(url, token_file)
    answer = reasons.why_not(service.get(f"/incidents/{incident}"), service.timeline(incident))
    if output is Output.JSON:
        return screen.print_json(answer)
    screen.out().print(cards.why_not_card(answer))
    return None
