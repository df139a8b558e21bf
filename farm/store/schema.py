"""The tables. Times ending in `_time_s` are Unix seconds; `lease_expiry_s` and `heard_s` are on the
store's steady clock (see `Clock`).
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from farm.jobs.access import DEFAULT_TENANT

# Numbers that go on for as long as the farm; SQLite counts only its INTEGER by itself.
Serial = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

image = Table(
    "image",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", Integer, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("create_time_s", Float, nullable=False),
    Column("want_time_s", Float, nullable=True),  # when it was last asked for, about; else created
)

# Whose things are apart from everyone else's, what they may take, and when it is their turn.
tenant = Table(
    "tenant",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("display_name", String(128), nullable=False),
    Column("weight", Float, nullable=False),  # its part of the farm, beside the others'
    Column("max_queued_shots", BigInteger, nullable=True),  # null: no limit, here and below
    Column("max_stored_bytes", BigInteger, nullable=True),
    Column("max_streams", BigInteger, nullable=True),
    Column("max_requests_per_minute", BigInteger, nullable=True),
    Column("max_gpu_s_per_day", Float, nullable=True),
    Column("create_time_s", Float, nullable=False),
    Column("turn", Float, nullable=False),  # when its next shot starts, in farm.jobs.turns' time
    Column("served_turn", Float, nullable=False),  # that time, when it was served last
    Column("page_key", String(64), nullable=False),  # seals its page and resume tokens
)

# An image's bytes are kept once; who has uploaded them owns them, and nobody else learns of it.
# One without an owner came by a version before tenants, and is the default tenant's.
image_owner = Table(
    "image_owner",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("sha256", String(64), ForeignKey(image.c.sha256, ondelete="CASCADE"), nullable=False),
    Column("create_time_s", Float, nullable=False),
    Column("want_time_s", Float, nullable=True),  # when this tenant last asked for it; else created
    PrimaryKeyConstraint("tenant", "sha256"),
)
Index("ix_image_owner_sha256", image_owner.c.sha256)

# How long a tenant's shots held workers, by the hour of Unix time in which they ended.
gpu_use = Table(
    "gpu_use",
    metadata,
    Column("tenant", String(64), nullable=False),
    Column("hour", Integer, nullable=False),
    Column("gpu_s", Float, nullable=False),
    PrimaryKeyConstraint("tenant", "hour"),
)

# Every model that a worker of this farm ever served, so that a job for it may wait for one.
model = Table(
    "model",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("frame_count", Integer, nullable=False),
    Column("step_count", Integer, nullable=False),
    Column("identity", String(64), nullable=True),  # as its newest worker told it
)

job = Table(
    "job",
    metadata,
    Column("number", Serial, primary_key=True, autoincrement=True),  # the order of creation
    Column("id", String(32), nullable=False, unique=True),
    Column("display_name", String(128), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("wish", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("request_id", String(36), nullable=True, unique=True),  # see farm.store.scope
    Column("request_sha256", String(64), nullable=False),
    Column("create_time_s", Float, nullable=False),
    Column("start_time_s", Float, nullable=True),
    Column("end_time_s", Float, nullable=True),
    Column("shot_count", Integer, nullable=False),
    Column("queued_count", Integer, nullable=False),
    Column("rendering_count", Integer, nullable=False),
    Column("succeeded_count", Integer, nullable=False),
    Column("failed_count", Integer, nullable=False),
    Column("cancelled_count", Integer, nullable=False),
    Column("webhook", Text, nullable=True),  # a URL that is told of each ending
    Column("tenant", String(64), nullable=False, server_default=DEFAULT_TENANT),
    sqlite_autoincrement=True,
)
Index("ix_job_tenant", job.c.tenant, job.c.number)

shot = Table(
    "shot",
    metadata,
    Column("job_id", String(32), ForeignKey(job.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1, in the order of the request
    Column("job_number", Serial, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("display_name", String(128), nullable=False),
    Column("output_name", String(128), nullable=False),
    Column("image_sha256", String(64), ForeignKey(image.c.sha256), nullable=False),
    Column("model", String(128), nullable=False),
    Column("params", JSON, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("charged_attempt_count", Integer, nullable=False),
    Column("token", String(64), nullable=True),
    Column("worker", String(128), nullable=True),
    Column("gateway", String(32), nullable=True),  # whose session the worker's lease came by
    Column("lease_expiry_s", Float, nullable=True),
    Column("memory_profile", Integer, nullable=True),  # of the next attempt; null is AS_STARTED
    Column("wish", String(16), nullable=True),  # CANCEL while RENDERING; null: its job's
    Column("render_duration_s", Float, nullable=True),
    Column("error_reason", String(64), nullable=True),
    Column("error_message", Text, nullable=True),
    Column("video_key", String(256), nullable=True),
    Column("video_sha256", String(64), nullable=True),
    Column("video_size_bytes", Serial, nullable=True),
    Column("video_frame_count", Integer, nullable=True),
    Column("cache_key", String(64), nullable=True),  # of what was rendered; null: it shares a video
    Column("cached_from", String(64), nullable=True),  # the shot whose video it shares
    Column("queue_time_s", Float, nullable=True),  # when it was queued last; null: not known
    Column("tenant", String(64), nullable=False, server_default=DEFAULT_TENANT),  # its job's
    # Of the call that queued it, where its spans are wanted; see farm.jobs.trace_context.
    Column("traceparent", String(55), nullable=True),
    Column("trace_time_s", Float, nullable=True),  # when that was
    PrimaryKeyConstraint("job_id", "number"),
)
# The queue in order of service, and the leases.
Index("ix_shot_queue", shot.c.state, shot.c.priority.desc(), shot.c.job_number, shot.c.number)
Index("ix_shot_worker", shot.c.worker, shot.c.state)
Index("ix_shot_image_sha256", shot.c.image_sha256)  # which images are used
Index("ix_shot_cache_key", shot.c.cache_key)  # what was rendered before
Index("ix_shot_video_key", shot.c.video_key)  # which videos are used
# A tenant's queue, and what its videos take.
Index(
    "ix_shot_tenant_queue",
    shot.c.tenant,
    shot.c.state,
    shot.c.priority.desc(),
    shot.c.job_number,
    shot.c.number,
)
Index("ix_shot_tenant_video", shot.c.tenant, shot.c.video_key, shot.c.video_size_bytes)

attempt = Table(
    "attempt",
    metadata,
    Column("job_id", String(32), nullable=False),
    Column("shot_number", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("worker", String(128), nullable=False),
    Column("claim_time_s", Float, nullable=False),
    Column("start_time_s", Float, nullable=True),  # when its worker said that it began
    Column("end_time_s", Float, nullable=True),
    Column("outcome", String(64), nullable=True),  # SUCCEEDED, CANCELLED or a retry reason
    Column("message", Text, nullable=True),  # of one that failed
    Column("log", Text, nullable=True),  # what its worker logged: a JSON list
    PrimaryKeyConstraint("job_id", "shot_number", "number"),
    ForeignKeyConstraint(
        ["job_id", "shot_number"], ["shot.job_id", "shot.number"], ondelete="CASCADE"
    ),
)

Index("ix_attempt_worker", attempt.c.worker, attempt.c.outcome)  # what speaks against a worker

# One row per change of a job (shot_number null) or of a shot; feeds WatchJob.
change = Table(
    "change",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("job_id", String(32), ForeignKey(job.c.id, ondelete="CASCADE"), nullable=False),
    Column("shot_number", Integer, nullable=True),
    sqlite_autoincrement=True,
)
Index("ix_change_job_seq", change.c.job_id, change.c.seq)

# The farm's workers, at whichever gateway; one that left stays for a while, as it may come back.
worker = Table(
    "worker",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("session", String(32), nullable=False),  # its newest: what an older one says is late
    Column("gateway", String(32), nullable=True),  # whose session it is; null: it has none
    Column("about", LargeBinary, nullable=False),  # what it says of itself: a svdfarm.v1.Worker
    Column("models", Text, nullable=False),  # of `about`, the names: a sorted JSON list
    Column("state", String(16), nullable=False),  # STARTING, ACTIVE or DRAINING, as it says
    Column("connect_time_s", Float, nullable=False),
    Column("heard_s", Float, nullable=False),  # to within a third of a lease
    Column("drain_wanted", Boolean, nullable=False),  # by an operator
    Column("refused_report_count", Integer, nullable=False),  # that came after its lease was lost
    Column("cordon_reason", String(64), nullable=True),  # null: it is not cordoned
    Column("cordon_message", Text, nullable=True),
    Column("cordon_lifted_time_s", Float, nullable=True),  # what was before is forgiven
)

# Files whose rows are gone, until they are too. See farm/store/deletion.py.
deletion = Table(
    "deletion",
    metadata,
    Column("key", String(256), primary_key=True),
    Column("claim", String(32), nullable=True),  # of whoever is deleting the file; null: nobody
    Column("claim_expiry_s", Float, nullable=True),  # on the steady clock; then it is anybody's
)

# What is told to jobs' webhooks, one row an ending. See farm/store/deliveries.py.
delivery = Table(
    "delivery",
    metadata,
    Column("number", Serial, primary_key=True, autoincrement=True),  # the order of the endings
    Column("id", String(64), nullable=False, unique=True),  # the header webhook-id
    Column("job_id", String(32), ForeignKey(job.c.id, ondelete="CASCADE"), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt_count", Integer, nullable=False),  # those that ended
    Column("next_time_s", Float, nullable=True),  # of the next attempt; null: there is none
    Column("message", Text, nullable=True),  # how the last attempt failed
    Column("claim", String(32), nullable=True),  # of whoever is sending it; null: nobody
    Column("claim_expiry_s", Float, nullable=True),  # on the steady clock; then it is anybody's
    sqlite_autoincrement=True,
)
Index("ix_delivery_job_id", delivery.c.job_id)
Index("ix_delivery_next_time_s", delivery.c.next_time_s)

# Who may call. The secret is 32 random bytes that only their holder has.
token = Table(
    "token",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("secret_sha256", String(64), nullable=False),
    Column("display_name", String(128), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("scopes", Text, nullable=False),  # a sorted JSON list
    Column("create_time_s", Float, nullable=False),
    Column("expire_time_s", Float, nullable=True),  # null: never
    Column("revoke_time_s", Float, nullable=True),  # null: it is good
    Column("use_time_s", Float, nullable=True),  # its last use, to within a minute
)

# One row: which farm this is. See farm/store/identity.py.
farm = Table(
    "farm",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("bound", Boolean, nullable=False),  # the images and videos are known to carry it
)

# One row: the oldest revision whose farm may still use these tables. See farm/store/migrate.py.
compatibility = Table(
    "compatibility", metadata, Column("oldest_revision", String(32), primary_key=True)
)
