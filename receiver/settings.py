"""Every setting, with its meaning, unit and default; read once, from the environment or one YAML file.

Unknown keys are mistakes. All complaints come at once. Only the application, the demo and the command line
import this; everything else is handed the slice it needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from receiver.domain.addresses import is_loopback, is_private
from receiver.domain.errors import PermanentError

PREFIX = "STANCH_"
# What Kubernetes sets in each pod of a namespace that has a Service named stanch.
SERVICE_LINK = re.compile(
    r"STANCH(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


class Settings(BaseSettings):
    """How one process of the service is set up. Durations are ISO 8601 (``PT30S``) or seconds."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    listen: str = Field(
        "127.0.0.1:8080", description="Address and port that the API and the intake listen on."
    )
    metrics_listen: str | None = Field(
        None,
        description="Address and port of a second listener, plain HTTP, for /metrics, /healthz and /readyz;"
        " then /metrics is served there only. Default: all on the first.",
    )
    store: str = Field(
        "sqlite:///stanch.sqlite3",
        description="sqlite:///FILE for one process, or postgresql://USER:PASSWORD@HOST/NAME for several.",
    )
    policies: Path | None = Field(
        None, description="Folder of policy files. Default: the GreenLang pack that comes with the package."
    )
    prometheus_url: str | None = Field(None, description="The Prometheus that severity and verification ask.")
    alertmanager_urls: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Every Alertmanager peer, comma-separated; asked what fires, each for itself."
    )
    alertmanager_receiver: str | None = Field(
        None, description="The name of our receiver there; alerts routed elsewhere are not ours."
    )
    kube_context: str | None = Field(
        None, description="The cluster to act in: a context of KUBECONFIG, or in-cluster. Never guessed."
    )
    reader: str | None = Field(
        None,
        description="The account that the cluster is read as, such as"
        " system:serviceaccount:stanch:stanch-reader; it is impersonated. Default: our own.",
    )
    executor: str | None = Field(
        None,
        description="The account that cures are carried out as; it is impersonated. Default: as it is read.",
    )
    isolator: str | None = Field(
        None,
        description="The account that security incidents are isolated as, such as"
        " system:serviceaccount:stanch:stanch-isolator; it is impersonated. Default: as everything else.",
    )
    standing_file: Path | None = Field(
        None,
        description="A security lead's standing approval of isolations; FILE.sig beside it is its signature."
        " Default: each isolation is asked for.",
    )
    security_keys: Path | None = Field(
        None,
        description="Folder of the public keys that may sign it: NAME.pem for each security lead.",
    )
    databases_file: Path | None = Field(
        None,
        description="YAML file of the PostgreSQL databases that are looked after, by name: host, port,"
        " database, monitor and operator {user, password_file}, users, sslmode. Default: none.",
    )
    endpoints_file: Path | None = Field(
        None,
        description="YAML file of the endpoints outside the cluster that may be read, by name: kind"
        " (statusPage, health, circuitBreakers), url, token_file, insecure. Default: none.",
    )
    cluster: str | None = Field(
        None, description="This cluster's name; alerts whose cluster label says otherwise are not acted on."
    )
    cluster_label: str = Field("cluster", description="The label that carries the cluster's name.")
    source: str = Field(
        "alertmanager", description="Name of the alerts' source; highly available peers share one name."
    )
    watchdog: str = Field(
        "Watchdog",
        min_length=1,
        description="Name of the alert that always fires: never an incident; a metric tells when it came.",
    )
    webhook_token_file: Path | None = Field(
        None, description="Bearer tokens that may post alerts, one a line; read again when it changes."
    )
    webhook_users_file: Path | None = Field(
        None, description="user:password pairs that may post alerts, one a line; read again when it changes."
    )
    api_tokens_file: Path | None = Field(
        None,
        description="YAML list of {token, name, groups}: who may use the API; read again when it changes.",
    )
    token_audience: str | None = Field(
        None,
        description="Whoever has a token of the cluster for this audience, such as stanch, uses the API as"
        " who they are there. Default: only those of the file.",
    )
    oidc_issuer: str | None = Field(
        None,
        description="Address of an OpenID Connect provider whose ID tokens people use the API with; what they"
        " may, the cluster's RBAC says. Default: none.",
    )
    oidc_client_id: str = Field("stanch", description="The audience that its tokens for us carry.")
    oidc_username_claim: str = Field("sub", description="The claim that names a person: sub, email, ...")
    oidc_username_prefix: str | None = Field(
        None,
        description="Put before names, as the API server's --oidc-username-prefix does, such as oidc:; - is"
        " nothing. Default, as there: the issuer and #, and nothing before an email.",
    )
    oidc_groups_claim: str = Field("groups", description="The claim that lists a person's groups.")
    oidc_groups_prefix: str = Field(
        "", description="Put before groups, as the API server's --oidc-groups-prefix does, such as oidc:."
    )
    proxy_user_header: str | None = Field(
        None,
        description="The header in which a proxy in front names whom it has logged in, such as"
        " X-Forwarded-User. Read on a loopback address only, or with PROXY_CERTIFICATE. Default: none.",
    )
    proxy_groups_header: str | None = Field(
        None,
        description="The header in which it lists their groups, with commas, such as X-Forwarded-Groups. The"
        " proxy must set it in every request, or whoever is logged in chooses. Default: no groups.",
    )
    proxy_certificate: str | None = Field(
        None,
        description="The name in the client certificate that the proxy shows; needs TLS_CLIENT_CA_FILE.",
    )
    insecure_no_auth: bool = Field(
        False, description="Serve the intake without credentials. For trials only."
    )
    tls_cert_file: Path | None = Field(None, description="Certificate chain (PEM); with it, HTTPS is served.")
    tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    tls_client_ca_file: Path | None = Field(
        None, description="Client certificates must be signed by this authority (PEM)."
    )
    max_body_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        description="Largest webhook body, in bytes. A larger one is refused with 413.",
    )
    max_bytes_in_flight: int = Field(
        64 * 1024 * 1024,
        ge=1024,
        description="Bodies being taken at once, in bytes; beyond it the answer is 503.",
    )
    reconcile_every: timedelta = Field(
        timedelta(seconds=30), gt=timedelta(0), description="How often the sources are asked what fires."
    )
    retention: timedelta = Field(
        timedelta(days=7),
        gt=timedelta(0),
        description="How long webhook bodies, delivered messages and what resolved incidents found are kept.",
    )
    retention_bytes: int = Field(
        2 * 1024**3, ge=1024**2, description="How many bytes of webhook bodies are kept, whatever their age."
    )
    evidence_dir: Path | None = Field(
        None,
        description="Folder that evidence of security incidents is written to, once and never changed."
        " Default: no evidence is kept, and each such incident says so.",
    )
    evidence_within: timedelta = Field(
        timedelta(seconds=60),
        gt=timedelta(0),
        description="How long reading evidence may take; what is there by then is sealed, the rest is a gap.",
    )
    announce_webhook_file: Path | None = Field(
        None, description="File with the address that messages are posted to (Slack-compatible)."
    )
    pagerduty_key_file: Path | None = Field(None, description="File with the integration key that pages.")
    pagerduty_url: str = Field(
        "https://events.pagerduty.com/v2/enqueue", description="Address of PagerDuty's Events API v2."
    )
    base_url: str | None = Field(None, description="Address of this service as people reach it, for links.")
    traces_endpoint: str | None = Field(
        None,
        description="Base address of an OpenTelemetry collector that takes OTLP over HTTP, such as"
        " http://collector:4318; needs stanch[traces]. Default: no traces.",
    )
    traces_share: float = Field(
        1.0, ge=0, le=1, description="The part of traces that is recorded, from 0 to 1."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: str = Field("auto", description="json, console, or auto: console on a terminal, else json.")
    shutdown_within: timedelta = Field(
        timedelta(seconds=25), gt=timedelta(0), description="How long SIGTERM waits for what is being done."
    )

    @field_validator("alertmanager_urls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("evidence_within", "reconcile_every", "retention", "shutdown_within", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        """A plain number is seconds, as the text of a variable too."""
        try:
            return timedelta(seconds=float(value)) if isinstance(value, str | int | float) else value
        except (ValueError, OverflowError):
            return value

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgres://")):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return value

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("must be HOST:PORT, for example 0.0.0.0:8080")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str | None) -> str | None:
        if value is not None and not is_private(value):
            raise ValueError("must begin with https://")
        return value

    @field_validator("prometheus_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @field_validator("traces_endpoint")
    @classmethod
    def _collector(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", value) is None:
            raise ValueError("must be http:// or https:// and a host, for example http://collector:4318")
        if value.rstrip("/").endswith("/v1/traces"):
            raise ValueError("must be the base address, without /v1/traces")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file go together")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        if self.proxy_certificate is not None and self.tls_client_ca_file is None:
            raise ValueError("proxy_certificate needs tls_client_ca_file: without it nobody shows one")
        unproven = self.proxy_user_header is not None and self.proxy_certificate is None
        if unproven and not is_loopback(self.address[0]):
            raise ValueError(
                "proxy_user_header: on an address that others reach anybody could write it; listen on"
                " 127.0.0.1 beside the proxy, or name its client certificate in proxy_certificate"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the file that STANCH_CONFIG names."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if path := os.environ.get(f"{PREFIX}CONFIG"):
            sources.append(YamlConfigSettingsSource(settings_cls, yaml_file=path))
        return tuple(sources)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return _host_and_port(self.listen)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the second listener, if there is to be one."""
        return None if self.metrics_listen is None else _host_and_port(self.metrics_listen)


def _host_and_port(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    return host.strip("[]"), int(port)


def read_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this process. Raises PermanentError with every complaint, a line each."""
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    # STANCH_URL and STANCH_TOKEN are the command line's own; CONFIG names the file.
    ours = {f"{PREFIX}{name}" for name in ("CONFIG", "URL", "TOKEN", "TOKEN_FILE", "TEST_POSTGRES")}
    given = (name for name in os.environ if name.startswith(PREFIX) and not SERVICE_LINK.fullmatch(name))
    unknown = sorted(name for name in given if name not in known | ours)
    complaints = [f"{name}: there is no such setting" for name in unknown]
    path = os.environ.get(f"{PREFIX}CONFIG")
    if path and not Path(path).is_file():
        raise PermanentError(f"{PREFIX}CONFIG: there is no file {path}")
    try:
        settings = Settings(**(overrides or {}))
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]) or "settings"
            complaints.append(f"{PREFIX}{name.upper()}: {problem['msg'].removeprefix('Value error, ')}")
        raise PermanentError("\n".join(complaints)) from error
    if complaints:
        raise PermanentError("\n".join(complaints))
    return settings
