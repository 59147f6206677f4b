-- Webhook deliveries as received. Unmatched deliveries belong to the nil tenant.

CREATE TYPE delivery_outcome AS ENUM ('pending', 'processed', 'ignored', 'failed', 'unmatched');
-- `poll`: a row of a list that a poll could not read, kept for operators.
CREATE TYPE delivery_source AS ENUM ('webhook', 'poll');

-- The id contains the time of receipt (UUID version 7) and thus determines the partition.
CREATE TABLE deliveries (
    tenant_id      uuid NOT NULL,
    received_at    timestamptz NOT NULL,
    id             uuid NOT NULL,
    source         delivery_source NOT NULL DEFAULT 'webhook',
    connection_id  uuid,
    provider       text NOT NULL,
    account_id     text,
    dedupe_id      text NOT NULL,
    event          text NOT NULL,
    headers        json NOT NULL,
    body           bytea COMPRESSION lz4 NOT NULL,
    traceparent    text,
    outcome        delivery_outcome NOT NULL,
    outcome_detail text,
    signals        integer NOT NULL DEFAULT 0,
    processed_at   timestamptz,
    -- Whether it was copied from another connection's delivery.
    copied         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, received_at, id)
) PARTITION BY RANGE (received_at);
CREATE INDEX deliveries_unmatched ON deliveries (provider, account_id) WHERE outcome = 'unmatched';
-- For counts of the unreadable rows that are stored per connection.
CREATE INDEX deliveries_polled ON deliveries (tenant_id, connection_id, received_at)
    WHERE source = 'poll';

-- Ids of the deliveries received so far; outlives the partitions above.
CREATE TABLE delivery_dedup (
    tenant_id   uuid NOT NULL,
    provider    text NOT NULL,
    dedupe_id   text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, provider, dedupe_id)
);
CREATE INDEX delivery_dedup_received_at ON delivery_dedup USING brin (received_at);

-- Counts of unmatched deliveries per account of the provider: stored deliveries, and digests of
-- deliveries above the quota, of which only the id is stored to detect duplicates. The table has no
-- tenant data.
CREATE TABLE unmatched_accounts (
    provider   text NOT NULL,
    account_id text NOT NULL,
    deliveries bigint NOT NULL,
    bytes      bigint NOT NULL,
    digests    bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, account_id)
) WITH (fillfactor = 50);

-- Results of webhook requests per hour, for two days. `connection_id` is the connection whose own
-- URL rejected the request, else the nil UUID. The table has no tenant data.
CREATE TABLE webhook_results (
    provider      text NOT NULL,
    connection_id uuid NOT NULL,
    result        text NOT NULL,
    hour          timestamptz NOT NULL,
    requests      bigint NOT NULL,
    last_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, connection_id, result, hour)
) WITH (fillfactor = 50);
