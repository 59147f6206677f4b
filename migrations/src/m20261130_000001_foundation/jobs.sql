-- The queue. Finished jobs move to job_history, so `jobs` stays small.

-- PostgreSQL cannot remove a value of an enumeration.
CREATE TYPE job_kind AS ENUM
    ('process_deliveries', 'rematch_deliveries', 'sync_connection', 'refresh_token', 'redeliver_webhooks',
     'apply_retention', 'resolve_directory', 'fan_out_delivery', 'reconcile_subscriptions', 'confirm_grant',
     'run_bulk_action');
CREATE TYPE job_state AS ENUM ('queued', 'running', 'succeeded', 'dead', 'cancelled');

-- Heartbeats. A worker's jobs are leased until its heartbeat expires. `feed_lag_seconds` is its
-- last measurement of how far the feed's watermark is behind.
CREATE TABLE workers (
    id               uuid PRIMARY KEY,
    started_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    feed_lag_seconds double precision
) WITH (fillfactor = 50);

-- When the periodic tasks are due next. The process that moves the date enqueues the task.
CREATE TABLE periodic_tasks (
    name    text PRIMARY KEY,
    next_at timestamptz NOT NULL
);

CREATE TABLE jobs (
    tenant_id        uuid NOT NULL,
    id               uuid NOT NULL,
    kind             job_kind NOT NULL,
    provider         text NOT NULL,
    connection_id    uuid,
    cursor_window    text,
    state            job_state NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running')),
    priority         smallint NOT NULL,
    run_at           timestamptz NOT NULL DEFAULT now(),
    attempts         smallint NOT NULL DEFAULT 0,
    max_attempts     smallint NOT NULL DEFAULT 3,
    -- Attempts whose worker was lost, counted separately, because the job is rarely the cause.
    lost_attempts    smallint NOT NULL DEFAULT 0,
    payload          json NOT NULL DEFAULT '{}',
    -- The size of the job's deliveries, so that the backlog can be limited without reading them.
    bytes            bigint NOT NULL DEFAULT 0,
    worker_id        uuid,
    lease_token      bigint,
    cancel_requested boolean NOT NULL DEFAULT false,
    last_error       json,
    traceparent      text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Jobs are claimed by tenant and priority; each pair is a range of this index.
CREATE INDEX jobs_claim ON jobs (tenant_id, priority, run_at, id) WHERE state = 'queued';
-- For the scan of due jobs, which finds the pairs that have any.
CREATE INDEX jobs_due ON jobs (kind, run_at, tenant_id, priority) INCLUDE (bytes)
    WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (worker_id) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_once
    ON jobs (tenant_id, provider, cursor_window) WHERE cursor_window IS NOT NULL;
CREATE SEQUENCE job_lease_tokens;

CREATE TABLE job_history (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    kind          job_kind NOT NULL,
    provider      text NOT NULL,
    connection_id uuid,
    cursor_window text,
    state         job_state NOT NULL CHECK (state IN ('succeeded', 'dead', 'cancelled')),
    priority      smallint NOT NULL,
    attempts      smallint NOT NULL,
    max_attempts  smallint NOT NULL,
    payload       json NOT NULL,
    last_error    json,
    traceparent   text,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id, finished_at)
) PARTITION BY RANGE (finished_at);
-- Dead-lettered jobs are few among many finished ones, and people list them most often.
CREATE INDEX job_history_dead ON job_history (tenant_id, id) WHERE state = 'dead';
