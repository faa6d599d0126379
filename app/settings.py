"""Every setting of every process, read from the environment (`MILLRACE_*`) once per process."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.connections import Processes as _Processes
from app.connections import read_processes

MIB = 1024 * 1024

Seconds = Annotated[float, Field(gt=0)]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SmtpTls(StrEnum):
    """How mail is encrypted on its way to the server: not at all, from STARTTLS on, or from the first byte."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_words)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_words)]
"""Several, separated by commas or spaces."""
Processes = Annotated[_Processes, NoDecode, BeforeValidator(read_processes)]


class Settings(BaseSettings):
    """Units are in the names; sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        description="postgresql://user:password@host:port/database",
    )
    database_direct_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL itself, where database_url is a pooler in transaction mode (PgBouncer).",
    )
    broker_url: SecretStr = Field(description="amqp://user:password@host:port/vhost")

    broker_management_url: SecretStr | None = Field(
        default=None,
        description="RabbitMQ's management API, http://user:password@host:15672, where it may be asked for limits.",
    )

    s3_endpoint_url: str | None = Field(
        default=None, description="None means AWS itself; set it for SeaweedFS, rclone, R2, ..."
    )
    s3_public_endpoint_url: str | None = Field(
        default=None,
        description="Where clients reach the store, for direct uploads; None: where we do.",
    )
    s3_region: str = "us-east-1"
    s3_bucket: Annotated[str, Field(min_length=3)] = "millrace"
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_checksums: bool = Field(
        default=False,
        description="Send the newer checksum headers; AWS takes them, several other stores do not.",
    )

    smtp_host: str = "localhost"
    smtp_port: int = 25
    smtp_tls: SmtpTls = SmtpTls.NONE
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_ca_file: str | None = Field(
        default=None, description="The authority to trust instead of the system's, as PEM."
    )
    smtp_timeout: Seconds = Field(default=10.0, description="For each step with the mail server.")
    smtp_max_seconds: Seconds = Field(
        default=60.0, description="How old a connection may be that takes another mail."
    )
    smtp_max_mails: Annotated[int, Field(ge=1)] = Field(
        default=100, description="How many mails go over one connection."
    )
    mail_from: str = "Millrace <no-reply@millrace.example>"
    public_url: str = Field(default="http://localhost:8000", description="Used in links in mail.")

    trial_warning_days: Annotated[int, Field(ge=1)] = Field(
        default=3, description="How long before its end a tenant is reminded of its trial."
    )

    upload_max_bytes: Annotated[int, Field(gt=0)] = 5 * 1024 * MIB
    upload_part_bytes: Annotated[int, Field(ge=5 * MIB)] = 8 * MIB
    uploads_at_once: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=24,
        description="So many files are uploaded through one web process at a time, half of them by one tenant.",
    )
    import_chunk_bytes: Annotated[int, Field(ge=1)] = MIB // 4
    import_parallel_chunks: Annotated[int, Field(ge=1)] = Field(
        default=3, description="So many chunks of one import are with the workers at once, at most."
    )
    import_max_rows: Annotated[int, Field(ge=1)] = Field(
        default=20_000_000, description="The longest file that is taken; per tenant if set there."
    )
    import_max_open: Annotated[int, Field(ge=1)] = Field(
        default=100, description="Imports of one tenant that may be queued or running at once."
    )

    file_max_bytes: Annotated[int, Field(gt=0)] = Field(
        default=50 * MIB, description="The largest file that `POST /v1/files` takes."
    )
    file_max_pixels: Annotated[int, Field(ge=1)] = Field(
        default=50_000_000,
        description="Of a picture, width times height; looked at before decoding.",
    )
    export_max_open: Annotated[int, Field(ge=1)] = Field(
        default=5, description="Exports of one tenant that may be queued or running at once."
    )
    export_max_rows: Annotated[int, Field(ge=1)] = Field(
        default=20_000_000,
        description="The longest export; what isn't made in parts has to be made within one job's time.",
    )
    export_parallel_parts: Annotated[int, Field(ge=1)] = Field(
        default=4, description="Parts of one export that may be under way at once."
    )
    export_keep_days: Annotated[int, Field(ge=1)] = Field(
        default=7, description="How long the file of an export or a report is kept."
    )
    export_link_seconds: Annotated[float, Field(ge=1, le=604_800)] = Field(
        default=300.0, description="How long a download link of the object store is good for."
    )
    ai_base_url: str | None = Field(
        default=None,
        description="An OpenAI-compatible endpoint, such as https://api.openai.com/v1; "
        "None: the local model where its extra is installed.",
    )
    ai_api_key: SecretStr | None = None
    ai_embedding_model: str = "text-embedding-3-small"
    ai_embedding_dimensions: Annotated[int, Field(ge=1, le=16_000)] | None = Field(
        default=None, description="Asked for where set; None: what the model gives."
    )
    ai_chat_model: str = "gpt-4o-mini"
    ai_embedding_price: Annotated[Decimal, Field(ge=0)] = Decimal("0.02")
    ai_chat_input_price: Annotated[Decimal, Field(ge=0)] = Decimal("0.15")
    ai_chat_output_price: Annotated[Decimal, Field(ge=0)] = Decimal("0.60")
    ai_monthly_budget: Annotated[Decimal, Field(ge=0)] = Field(
        default=Decimal(10), description="Of a tenant that has none of its own."
    )
    ai_request_max_tokens: Annotated[int, Field(ge=16)] = 100_000
    ai_request_max_inputs: Annotated[int, Field(ge=1)] = 256
    ai_input_max_tokens: Annotated[int, Field(ge=16)] = 8_000
    ai_passage_tokens: Annotated[int, Field(ge=16)] = 400
    ai_answer_max_tokens: Annotated[int, Field(ge=16)] = 1_000
    ai_requests_per_minute: Annotated[int, Field(ge=1)] = 500
    ai_timeout: Seconds = 30.0

    report_font: str | None = Field(
        default=None,
        description="A TrueType font for what the reports' own lacks: it has Latin, Greek and Cyrillic.",
    )

    db_pool_size: Annotated[int, Field(ge=1)] = Field(
        default=10, description="Connections of one web process."
    )
    processes: Processes = Field(
        default=_Processes(),
        description="How many of each run at most, as `web=2 dispatcher=1 high=1x2 default=3x4 low=1x2`.",
    )
    pooler_connections: Annotated[int, Field(ge=1)] = Field(
        default=20, description="What a pooler opens to PostgreSQL at most, where there is one."
    )
    silence_seconds: Annotated[float, Field(ge=1, le=50)] = Field(
        default=20.0,
        description="A server that acknowledges nothing that it is sent for so long is gone.",
    )
    web_drain_seconds: Annotated[float, Field(ge=0)] = Field(
        default=5.0,
        description="How long a web process told to stop still serves, while /readyz already answers 503.",
    )
    dispatch_batch_size: Annotated[int, Field(ge=1, le=5000)] = 500
    dispatch_poll_seconds: Seconds = 1.0
    dispatch_window_seconds: Seconds = Field(
        default=0.05, description="So much work waits in a broker's queue, by its rate of late."
    )
    dispatch_window_min: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="So many jobs may wait in a broker's queue at least, ..."
    )
    dispatch_window_max: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000, description="... and at most. The minimum counts where it is larger."
    )
    affinity_shards: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0,
        description="Of each pool with kinds that want the same worker for a tenant; 0: none, and no affinity.",
    )
    backlog_tenant_max: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000, description="Waiting jobs from which on a tenant's new work is refused."
    )
    backlog_max: Annotated[int, Field(ge=1)] = Field(
        default=10_000_000, description="The same for all tenants together."
    )
    backlog_max_lag_seconds: Seconds | None = Field(
        default=None, description="New work is refused while a due job waits longer than this."
    )
    confirm_timeout: Seconds = Field(
        default=15.0, description="How long the dispatcher waits for a batch's broker confirms."
    )
    lease_seconds: Seconds = Field(
        default=60.0,
        description="A running job whose worker is silent for this long is up for grabs.",
    )
    rescue_after_seconds: Seconds = Field(
        default=30.0,
        description="A queued job whose message the broker lost goes back to the outbox after this.",
    )
    upload_abandoned_seconds: Seconds = Field(
        default=86_400.0,
        description="Unfinished uploads, and files of no import, are deleted after this.",
    )

    sealing_keys: Secrets = Field(
        default=(),
        description="What secrets of customers are sealed with in the database: the first seals, all open.",
    )
    outbound_allowed_networks: Networks = Field(
        default=(),
        description="Networks that customers' webhooks may point to though they are not of the internet.",
    )
    webhook_at_once: int = Field(
        default=8,
        ge=1,
        description="Deliveries of one tenant's webhooks that may be under way at once.",
    )
    webhook_slow_at_once: int = Field(
        default=1,
        ge=1,
        description="Deliveries to slow endpoints, and to unknown ones, under way at once: of all tenants.",
    )
    payment_webhook_secrets: Secrets = Field(
        default=(),
        description="Signing secrets of the payment provider; several while they change.",
    )
    clamd_url: Annotated[str | None, Field(pattern=r"^(tcp://[^/]+|unix:///.+)$")] = Field(
        default=None,
        description="Where clamd is: tcp://host:3310 or unix:///path. None: uploads aren't scanned.",
    )
    clamd_timeout: Seconds = Field(
        default=120.0, description="How long clamd may take for a step, the verdict above all."
    )

    retention_days: Annotated[int, Field(ge=1)] = Field(
        default=30, description="How long what has ended is kept: jobs, schedule slots, answers."
    )

    worker_concurrency: Annotated[int, Field(ge=1)] = 2
    worker_takes: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Messages of brief jobs that a child may be given at once."
    )
    worker_max_tasks_per_child: Annotated[int, Field(ge=1)] = 10_000
    worker_max_memory_per_child_kib: Annotated[int, Field(ge=1)] = 400_000
    worker_drain_seconds: Seconds = Field(
        default=25.0, description="How long a worker told to stop may go on with what it runs."
    )

    scaling_poll_seconds: Seconds = Field(
        default=2.0, description="How often a worker with --autoscale looks at its queue."
    )
    scaling_drain_seconds: Seconds = Field(
        default=10.0, description="It has children enough to be rid of a backlog within this, ..."
    )
    scaling_max_lag_seconds: Seconds = Field(
        default=5.0, description="... more while a due job waits for longer than this, ..."
    )
    scaling_down_seconds: Seconds = Field(
        default=120.0, description="... and no fewer than it called for at any time within this."
    )

    heartbeat_file: str | None = Field(
        default=None, description="Touched every few seconds by a live worker or dispatcher."
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Where dispatcher and workers serve their metrics and health.",
    )
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        default=0, description="The port for it; 0: none. The web process has /metrics of its own."
    )
    metrics_token: SecretStr | None = Field(
        default=None, description="What the web process's /metrics asks for, as a bearer token."
    )
    log_json: bool = True
    log_level: str = "INFO"
    otlp_endpoint: Annotated[str | None, Field(pattern=r"^https?://[^/?#]+[^?#]*$")] = Field(
        default=None,
        description="The collector's OTLP/HTTP address, such as http://localhost:4318; None: no traces.",
    )
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1, description="So many of all traces are recorded; 1: every one."
    )
    trace_url: Annotated[str | None, Field(pattern=r"^https?://.*\{trace_id\}.*$")] = Field(
        default=None, description="Where operators look at a trace; with {trace_id} in it."
    )

    @field_validator("smtp_password")
    @classmethod
    def _not_in_the_clear(
        cls, password: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        """Needs the two settings that stand above it."""
        encrypted = info.data.get("smtp_tls") is not SmtpTls.NONE
        if password and not encrypted and info.data.get("smtp_host") not in _LOOPBACK:
            raise ValueError(
                "It would go over the network unencrypted: set MILLRACE_SMTP_TLS to starttls (port 587) or "
                "implicit (port 465)."
            )
        return password

    @property
    def pooled(self) -> bool:
        """Whether `database_url` is a pooler's."""
        return bool(self.database_direct_url and self.database_direct_url.get_secret_value())

    @property
    def direct_url(self) -> str:
        """PostgreSQL's own URL: for LISTEN and migrations."""
        if self.database_direct_url and self.pooled:
            return self.database_direct_url.get_secret_value()
        return self.database_url.get_secret_value()

    @property
    def direct(self) -> Self:
        """The same, without a pooler."""
        changes = {"database_url": SecretStr(self.direct_url), "database_direct_url": None}
        return self.model_copy(update=changes)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """From the `MILLRACE_*` variables of `environment`, and not the process's own."""
        prefix = "MILLRACE_"
        given = {
            name.removeprefix(prefix).lower(): value
            for name, value in environment.items()
            if name.startswith(prefix)
        }
        made = cls.__new__(cls)
        BaseModel.__init__(made, **given)  # BaseSettings' own reads the process's variables too
        return made


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings. Raises pydantic's ValidationError that names what is missing."""
    return Settings()  # pyright: ignore[reportCallIssue]
