"""Every key that a file of policy tests may have, with what it means, for editors and for the reference page.

The reader asks by its own code; a test holds its keys to these.
"""

from __future__ import annotations

from receiver.domain.incidents import PlanState, Status
from receiver.domain.plans import Risk
from receiver.domain.severity import Severity
from receiver.policy.grammar import Beside, Form, Key, named, table
from receiver.policy.loading import TEST_KIND
from receiver.policy.vocabulary import Suggested
from receiver.trials.policy_test.happening import KINDS, STATES
from receiver.trials.policy_test.model import NOTHING, Saying, Verdict

_AT = Key("at", Form.DURATION, "When, counted from `clock`.", needed=True)
_QUERIES = table(
    "queries",
    "The values of the policies' named queries.",
    named(
        "name of the query",
        Form.TEXT,
        "One value an `interval`, as for promtool: `0.35x60` is a value and sixty more, `_` no data.",
    ),
)
_SETTING = (
    Key("clock", Form.TEXT, "When the story begins, with its zone.", "2026-03-02T02:00:00Z"),
    Key("interval", Form.DURATION, "How far apart values lie.", "1m"),
    Key(
        "cluster", Form.TEXT_OR_LIST, "Files of objects as kubectl prints them, relative to the test.", "none"
    ),
    table(
        "databases",
        "What the databases that are looked after would say.",
        named(
            "connection",
            Form.TABLE,
            "One of them, by its name in the databases file.",
            Key("users", Form.TEXTS, "The application's roles.", needed=True),
            Key("usable", Form.WHOLE, "How many connections everybody can have.", needed=True),
            Key("away", Form.DURATION, "From then on it does not answer.", "never"),
            table(
                "sessions",
                "Who is connected when the story begins.",
                Key("user", Form.TEXT, "Its role.", needed=True),
                Key("application", Form.TEXT, "The name it gives.", "none"),
                Key("state", Form.WORD, "What it does.", needed=True, words=STATES),
                Key("for", Form.DURATION, "For how long already.", needed=True),
                Key("count", Form.WHOLE, "So many alike.", "1"),
                form=Form.LIST,
                needed=True,
            ),
            table(
                "slots",
                "Replication slots that nobody reads; without the key nobody can tell of any.",
                Key("name", Form.TEXT, "Its name.", needed=True),
                Key("kept", Form.COUNT, "The bytes of WAL that are kept for it.", needed=True),
                form=Form.LIST,
            ),
        ),
    ),
    table(
        "endpoints",
        "What the endpoints of the endpoints file would answer.",
        named(
            "endpoint",
            Form.TABLE,
            "One of them, by its name in the file.",
            Key("kind", Form.WORD, "What stands there.", needed=True, words=KINDS),
            Key("status", Form.WHOLE, "The status that it answers.", "200"),
        ),
    ),
    _QUERIES,
    table(
        "input_series",
        "Series over which the queries are evaluated, where their values are not given.",
        Key("series", Form.TEXT, 'Such as `up{job="api"}`; a query must read it.', needed=True),
        Key("values", Form.TEXT, "As in `queries`.", needed=True),
        form=Form.LIST,
    ),
    table(
        "afterWrite",
        "What the queries say once the service's write has landed; a list for one write after another.",
        Key(_QUERIES.name, Form.TABLE, _QUERIES.meaning, needed=True, keys=_QUERIES.keys),
        form=Form.ONE_OR_LIST,
    ),
    table(
        "alerts",
        "Alerts that fire.",
        _AT,
        Key("until", Form.DURATION, "When it resolves.", "never"),
        Key(
            "labels", Form.TABLE, "Its labels.", needed=True, keys=(named("label", Form.TEXT, "Its value."),)
        ),
        table("annotations", "Its annotations.", named("annotation", Form.TEXT, "Its text.")),
        form=Form.LIST,
    ),
    table(
        "deliver",
        "How often each notification arrives.",
        Key("copies", Form.WHOLE, "So many times from each peer.", "1"),
        Key("peers", Form.WHOLE, "From so many Alertmanagers.", "1"),
    ),
)
_PATCH = table(
    "patch",
    "What somebody else changes.",
    _AT,
    Key("object", Form.TEXT, "Such as `Deployment/shop/checkout`.", needed=True),
    Key(
        "merge",
        Form.TABLE,
        "A merge patch of it.",
        needed=True,
        keys=(named("field", Form.VALUE, "As the object has it; null takes it away."),),
    ),
    Key("by", Form.TEXT, "Who, as a field manager.", "kubectl-edit"),
    form=Form.LIST,
)
_SAID = {
    Saying.APPROVE: "Who says yes to the newest plan.",
    Saying.DENY: "Who says no to it.",
    Saying.UNDO: "Who says that it be put back.",
    Saying.KEEP: "Who says that it be left as it is.",
    Saying.CLOSE: "Who says that the incident is over.",
}
_ANSWER = (
    _AT,
    Key("by", Form.TEXT, "Who.", needed=True),
    Key("groups", Form.TEXTS, "The groups of this person's token.", needed=True),
    Key("reason", Form.TEXT, "Why.", "none"),
    Key("refused", Form.TEXT, "It must be turned down, and the reason contains this."),
)
_EXPECT = table(
    "expect",
    "What must be so.",
    _AT,
    Key("incident", Form.WHOLE, "Which incident is meant.", "the newest"),
    Key("incidents", Form.COUNT, "So many were opened."),
    Key("noIncident", Form.YES, "None was opened."),
    Key("severity", Form.WORD, "How bad it is.", words=tuple(Severity)),
    Key("because", Form.TEXT_OR_LIST, "The newest classification's rule and reason contain this."),
    Key("status", Form.WORD, "How far the incident is.", words=tuple(Status)),
    Key(
        "proposed",
        Form.TEXT,
        f"The remediation of the newest plan; `{NOTHING}`: there is no plan.",
        suggests=Suggested.REMEDIATION,
    ),
    table("with", "Its parameters are these.", named("parameter", Form.VALUE, "Its value.")),
    Key("change", Form.TEXT_OR_LIST, "Its change contains this."),
    Key("risk", Form.WORD, "Its risk.", words=tuple(Risk)),
    Key(
        "state",
        Form.WORD,
        "How far it is; `shadowed` is where one in `mode: shadow` ends.",
        words=tuple(PlanState),
    ),
    Key("rejected", Form.TEXT_OR_LIST, "Why candidates are not offered contains this."),
    Key("handover", Form.TEXT_OR_LIST, "What is handed over to a person contains this."),
    Key("noHandover", Form.TEXT_OR_LIST, "Nothing that is handed over contains this."),
    Key("refused", Form.TEXT_OR_LIST, "What guards said just before acting contains this."),
    Key("verdict", Form.WORD, "What came of it.", words=tuple(Verdict)),
    Key("executed", Form.TEXTS, "What was carried out so far, in order.", suggests=Suggested.REMEDIATION),
    Key("executedCount", Form.COUNT, "How many of those there are."),
    Key("undone", Form.TEXTS, "What was put back so far.", suggests=Suggested.REMEDIATION),
    Key("security", Form.TEXT_OR_LIST, "It is a security incident; its sign and its scope contain this."),
    Key(
        "isolates",
        Form.TEXT_OR_LIST,
        "Something is to be isolated; what is done, and how far it is, contains this.",
    ),
    Key("paged", Form.YES, "Whether somebody was paged so far."),
    Key("told", Form.TEXT_OR_LIST, "Some message contains this."),
    form=Form.LIST,
)
POLICY_TEST = Beside(
    TEST_KIND,
    "What policies must do in a story, played by `stanch policy test`.",
    (
        Key("policies", Form.TEXTS, "The policy files that it is about.", "all of the folder"),
        Key(
            "tests",
            Form.LIST,
            "The stories.",
            needed=True,
            keys=(
                Key("name", Form.TEXT, "What it claims.", needed=True),
                *_SETTING,
                _PATCH,
                *(table(saying.value, _SAID[saying], *_ANSWER, form=Form.LIST) for saying in Saying),
                Key(_EXPECT.name, Form.LIST, _EXPECT.meaning, needed=True, keys=_EXPECT.keys),
            ),
        ),
        table("defaults", "What holds for each test that does not say it itself.", *_SETTING),
        table("metadata", "Read by nobody.", named("key", Form.VALUE, "Anything.")),
    ),
)
