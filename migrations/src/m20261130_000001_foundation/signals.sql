-- Signals and their feed. `tx_id` and `seq` are the order of the feed: rows below the oldest
-- running transaction are final, so a reader misses none.

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
    body           json COMPRESSION lz4 NOT NULL,
    raw            json COMPRESSION lz4 NOT NULL,
    traceparent    text,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT signals_once UNIQUE (tenant_id, source, dedupe_key)
);
CREATE INDEX signals_feed ON signals (tenant_id, tx_id, seq);
CREATE INDEX signals_recent ON signals (tenant_id, occurred_at DESC, id DESC);

-- Transaction ids are meaningless in another cluster. A restore begins a new generation, and
-- cursors of older generations are rejected.
CREATE TABLE feed_generations (
    generation        integer PRIMARY KEY,
    system_identifier text NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT now()
);
INSERT INTO feed_generations (generation, system_identifier)
SELECT 1, system_identifier::text FROM pg_control_system();
