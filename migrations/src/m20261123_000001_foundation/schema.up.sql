-- Every table that holds a tenant's data leads its primary key with tenant_id; policies
-- follow in policies.up.sql. The nil tenant owns what no tenant owns yet.

CREATE TYPE connection_status AS ENUM
    ('pending', 'active', 'paused', 'suspended', 'needs_reauth', 'disconnected');
CREATE TYPE job_kind AS ENUM
    ('process_deliveries', 'adopt_deliveries', 'sync_connection', 'refresh_token', 'sweep_deliveries',
     'apply_retention');
CREATE TYPE job_state AS ENUM ('queued', 'running', 'succeeded', 'dead', 'cancelled');
CREATE TYPE delivery_outcome AS ENUM ('pending', 'processed', 'ignored', 'failed', 'unmatched');

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id           uuid NOT NULL,
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    key_hash     bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    hint         text NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX api_keys_key_hash ON api_keys (key_hash);

CREATE TABLE connections (
    tenant_id             uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id                    uuid NOT NULL,
    provider              text NOT NULL,
    status                connection_status NOT NULL,
    status_reason         text,
    account_id            text,
    account_name          text,
    account_stable_id     text,
    settings              json NOT NULL DEFAULT '{}',
    scopes                text[] NOT NULL DEFAULT '{}',
    requester             text,
    poll_interval_seconds integer NOT NULL CHECK (poll_interval_seconds BETWEEN 30 AND 86400),
    last_sync_at          timestamptz,
    last_error            json,
    backfilled_at         timestamptz,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT connections_account_known CHECK (status IN ('pending', 'disconnected') OR account_id IS NOT NULL)
);
CREATE UNIQUE INDEX connections_account_once
    ON connections (tenant_id, provider, account_id) WHERE status <> 'disconnected';

-- The cross-tenant face of a connection: where its deliveries go and when it is next
-- polled. It holds no names, no settings and no secrets, because ingress and the
-- scheduler read it for all tenants.
CREATE TABLE connection_routes (
    tenant_id             uuid NOT NULL,
    connection_id         uuid NOT NULL,
    provider              text NOT NULL,
    account_id            text NOT NULL,
    exclusive             boolean NOT NULL,
    polling               boolean NOT NULL,
    poll_interval_seconds integer NOT NULL,
    next_sync_at          timestamptz NOT NULL DEFAULT now(),
    refresh_at            timestamptz,
    routed_at             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE INDEX connection_routes_account ON connection_routes (provider, account_id);
CREATE UNIQUE INDEX connection_routes_exclusive
    ON connection_routes (provider, account_id) WHERE exclusive;
CREATE INDEX connection_routes_routed_at ON connection_routes (routed_at);
CREATE INDEX connection_routes_due ON connection_routes (next_sync_at) WHERE polling;
CREATE INDEX connection_routes_refresh ON connection_routes (refresh_at) WHERE polling;

-- One leg of a connect flow. Only the hash of the state is kept; the row opens with it.
CREATE TABLE oauth_states (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    state_hash   bytea NOT NULL CHECK (octet_length(state_hash) = 32),
    provider     text NOT NULL,
    browser_hash bytea,
    sealed       bytea NOT NULL,
    return_to    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    PRIMARY KEY (tenant_id, state_hash)
);
CREATE UNIQUE INDEX oauth_states_state_hash ON oauth_states (state_hash);
CREATE INDEX oauth_states_expires_at ON oauth_states (expires_at);

-- Sealed with AES-256-GCM, bound to (tenant, connection, field). `version` counts the
-- tokens; the refresh_* columns are the lease of the one process that renews them, and the
-- record of an attempt whose answer may have been lost.
CREATE TABLE credentials (
    tenant_id            uuid NOT NULL,
    connection_id        uuid NOT NULL,
    version              bigint NOT NULL DEFAULT 1,
    access_token         bytea,
    refresh_token        bytea,
    expires_at           timestamptz,
    refresh_expires_at   timestamptz,
    refresh_lease        uuid,
    refresh_lease_until  timestamptz,
    refresh_attempted_at timestamptz,
    updated_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

CREATE TABLE cursors (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    stream        text NOT NULL,
    resource_id   text,
    target        json NOT NULL,
    cursor        json,
    version       bigint NOT NULL DEFAULT 0,
    horizon       timestamptz NOT NULL,
    retired_at    timestamptz,
    retired_why   text,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, stream),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
) WITH (fillfactor = 80);

-- Push subscriptions at providers that want one per resource and let it expire.
CREATE TABLE subscriptions (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    id            uuid NOT NULL,
    resource      text NOT NULL,
    external_id   text NOT NULL,
    expires_at    timestamptz,
    renewed_at    timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, connection_id, resource),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE INDEX subscriptions_expires_at ON subscriptions (expires_at);

-- Webhook requests as received. The time of receipt is the id's own (UUID version 7), so
-- an id alone leads to its partition.
CREATE TABLE deliveries (
    tenant_id     uuid NOT NULL,
    received_at   timestamptz NOT NULL,
    id            uuid NOT NULL,
    connection_id uuid,
    provider      text NOT NULL,
    account_id    text,
    dedupe_id     text NOT NULL,
    event         text NOT NULL,
    headers       json NOT NULL,
    body          bytea NOT NULL,
    traceparent   text,
    outcome       delivery_outcome NOT NULL,
    outcome_detail text,
    signals       integer NOT NULL DEFAULT 0,
    processed_at  timestamptz,
    PRIMARY KEY (tenant_id, received_at, id)
) PARTITION BY RANGE (received_at);
ALTER TABLE deliveries ALTER COLUMN body SET COMPRESSION lz4;
CREATE INDEX deliveries_unmatched ON deliveries (provider, account_id) WHERE outcome = 'unmatched';

-- Which deliveries have been seen; outlives the partitions above.
CREATE TABLE delivery_ledger (
    tenant_id   uuid NOT NULL,
    provider    text NOT NULL,
    dedupe_id   text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider, dedupe_id)
);
CREATE INDEX delivery_ledger_received_at ON delivery_ledger USING brin (received_at);

-- A worker that lives says so here every few seconds; its jobs are leased as long as it
-- does.
CREATE TABLE workers (
    id         uuid PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- When the service's own tasks are due next; whoever moves the date does the task.
CREATE TABLE periodic_tasks (
    name    text PRIMARY KEY,
    next_at timestamptz NOT NULL
);

-- Work to be done. Finished jobs move to job_history, so this table stays small and hot.
CREATE TABLE jobs (
    tenant_id     uuid NOT NULL,
    id            uuid NOT NULL,
    kind          job_kind NOT NULL,
    provider      text NOT NULL,
    connection_id uuid,
    cursor_window text,
    state         job_state NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running')),
    priority      smallint NOT NULL,
    run_at        timestamptz NOT NULL DEFAULT now(),
    attempts      smallint NOT NULL DEFAULT 0,
    max_attempts  smallint NOT NULL DEFAULT 3,
    -- Tries that ended with their worker; counted apart, because the job is rarely to blame.
    losses        smallint NOT NULL DEFAULT 0,
    payload       json NOT NULL DEFAULT '{}',
    worker_id     uuid,
    lease_token   bigint,
    cancel_requested boolean NOT NULL DEFAULT false,
    last_error    json,
    traceparent   text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- Claiming walks this index one tenant at a time, which is what makes it fair.
CREATE INDEX jobs_claim ON jobs (tenant_id, priority, run_at, id) WHERE state = 'queued';
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

-- The product. `tx_id` and `seq` give the order of the feed: everything below the oldest
-- running transaction is settled and can be read without missing a row.
CREATE TABLE signals (
    tenant_id      uuid NOT NULL,
    id             uuid NOT NULL,
    connection_id  uuid NOT NULL,
    source         text NOT NULL,
    kind           text NOT NULL,
    dedupe_key     text NOT NULL,
    occurred_at    timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    tx_id          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq            bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    schema_version smallint NOT NULL,
    body           json NOT NULL,
    raw            json NOT NULL,
    traceparent    text,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT signals_once UNIQUE (tenant_id, source, dedupe_key)
);
ALTER TABLE signals ALTER COLUMN raw SET COMPRESSION lz4;
ALTER TABLE signals ALTER COLUMN body SET COMPRESSION lz4;
CREATE INDEX signals_feed ON signals (tenant_id, tx_id, seq);
CREATE INDEX signals_recent ON signals (tenant_id, occurred_at DESC, id DESC);

-- Transaction ids mean nothing in another cluster. A restore starts a new generation, and
-- cursors of an older one are refused.
CREATE TABLE feed_generations (
    generation        integer PRIMARY KEY,
    system_identifier text NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT now()
);
INSERT INTO feed_generations (generation, system_identifier)
SELECT 1, system_identifier::text FROM pg_control_system();

CREATE TABLE rate_budgets (
    provider      text NOT NULL,
    account_id    text NOT NULL,
    tat           timestamptz NOT NULL,
    blocked_until timestamptz,
    PRIMARY KEY (provider, account_id)
) WITH (fillfactor = 50);

CREATE TABLE idempotency_keys (
    tenant_id    uuid NOT NULL,
    key          text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL,
    status       smallint NOT NULL,
    response     json NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

CREATE TABLE audit_log (
    tenant_id  uuid NOT NULL,
    id         uuid NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text,
    detail     json NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, id)
);

-- Partitions are made and dropped by these two, because only the owner may. Workers call
-- them; the names they accept are closed.
CREATE FUNCTION ensure_partitions(days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    parent text;
    day date;
    part text;
    made integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['deliveries', 'job_history'] LOOP
        FOR day IN SELECT generate_series(
            (now() AT TIME ZONE 'UTC')::date - 1,
            (now() AT TIME ZONE 'UTC')::date + least(days_ahead, 60), '1 day')::date
        LOOP
            part := format('%s_p%s', parent, to_char(day, 'YYYYMMDD'));
            CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
            BEGIN
                EXECUTE format(
                    'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                    part, parent, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
                EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', part);
                EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
                made := made + 1;
            EXCEPTION
                -- Another worker was faster, or the default partition already holds rows of that day.
                WHEN duplicate_table OR check_violation THEN NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

CREATE FUNCTION drop_partitions(parent text, keep_days integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    IF parent NOT IN ('deliveries', 'job_history') OR keep_days < 1 THEN
        RAISE EXCEPTION 'drop_partitions: % with % days is not allowed', parent, keep_days;
    END IF;
    -- Waiting for the lock would queue every writer behind us.
    SET LOCAL lock_timeout = '200ms';
    FOR part IN
        SELECT c.relname FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = ('public.' || parent)::regclass
          AND c.relname ~ '_p[0-9]{8}$'
          AND to_date(right(c.relname, 8), 'YYYYMMDD')
              < (now() AT TIME ZONE 'UTC')::date - keep_days
    LOOP
        EXECUTE format('DROP TABLE public.%I', part.relname);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$;

REVOKE ALL ON FUNCTION ensure_partitions(integer), drop_partitions(text, integer) FROM PUBLIC;

CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
CREATE TABLE job_history_default PARTITION OF job_history DEFAULT;
SELECT ensure_partitions(14);
