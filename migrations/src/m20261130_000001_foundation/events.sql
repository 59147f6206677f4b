-- Changes of connections, for people and programs that react to them; kept for 90 days. Events of
-- the service belong to the nil tenant. The id contains `created_at`, so lists are ordered by it. An
-- event with a `dedupe_key` is written once, however many workers find its cause.

CREATE TABLE events (
    tenant_id       uuid NOT NULL,
    id              uuid NOT NULL,
    type            text NOT NULL,
    provider        text NOT NULL,
    connection_id   uuid,
    subscription_id uuid,
    data            json NOT NULL DEFAULT '{}',
    dedupe_key      text,
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE UNIQUE INDEX events_once ON events (tenant_id, dedupe_key) WHERE dedupe_key IS NOT NULL;
-- Lists of one connection; of one type, of a tenant and of all tenants; of all tenants.
CREATE INDEX events_connection ON events (connection_id, id);
CREATE INDEX events_tenant_type ON events (tenant_id, type, id);
CREATE INDEX events_type ON events (type, id);
CREATE INDEX events_all ON events (id);
CREATE INDEX events_created_at ON events USING brin (created_at);
