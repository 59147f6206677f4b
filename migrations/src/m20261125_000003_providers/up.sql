-- A kind of job, once known, stays known: enumerations do not shrink.
ALTER TYPE job_kind ADD VALUE IF NOT EXISTS 'look_up';
ALTER TYPE job_kind ADD VALUE IF NOT EXISTS 'fan_out_delivery';
ALTER TYPE job_kind ADD VALUE IF NOT EXISTS 'maintain_subscriptions';

-- When the present grant was given: what a provider told of an older one is past.
ALTER TABLE connections ADD COLUMN connected_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE connection_routes ADD COLUMN subscriptions_at timestamptz;
CREATE INDEX connection_routes_subscriptions ON connection_routes (subscriptions_at);
-- Whether it was copied from the delivery of another connection.
ALTER TABLE deliveries ADD COLUMN copied boolean NOT NULL DEFAULT false;

-- Where deliveries go that are not routed by their account's id. One route may lead to
-- several connections.
CREATE TABLE delivery_routes (
    tenant_id       uuid NOT NULL,
    connection_id   uuid NOT NULL,
    provider        text NOT NULL,
    route           text NOT NULL,
    subscription_id uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, route),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE INDEX delivery_routes_route ON delivery_routes (provider, route);
CREATE INDEX delivery_routes_created_at ON delivery_routes (created_at);

-- A row is what must be (`wanted`) or must end. It has no external_id before the provider
-- has given one; `attempted_at` is written before the provider is asked, so that an answer
-- that was lost is looked for.
ALTER TABLE subscriptions ALTER COLUMN external_id DROP NOT NULL;
ALTER TABLE subscriptions ADD COLUMN target json NOT NULL DEFAULT '{}';
ALTER TABLE subscriptions ADD COLUMN route text;
ALTER TABLE subscriptions ADD COLUMN wanted boolean NOT NULL DEFAULT true;
ALTER TABLE subscriptions ADD COLUMN attempted_at timestamptz;

-- What people, channels and statuses are called. An entry without a name is one that the
-- provider does not tell about.
CREATE TABLE directory_entries (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    kind          text NOT NULL,
    external_id   text NOT NULL,
    name          text,
    detail        json NOT NULL DEFAULT '{}',
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, kind, external_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
) WITH (fillfactor = 80);

-- Tokens of the person who connected an account, where a provider gives them beside the
-- account's own. The same shape, under the same seal.
CREATE TABLE person_credentials (LIKE credentials INCLUDING ALL);
ALTER TABLE person_credentials
    ADD FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE;

-- When a tenant last asked for its share of what all have together.
ALTER TABLE rate_budgets ADD COLUMN asked_at timestamptz;

-- Every attempt to renew a token, written before the call. One that never ended has lost
-- the provider's answer, and maybe a refresh token with it.
CREATE TABLE token_rotations (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    id            uuid NOT NULL,
    holder        text NOT NULL,
    version       bigint NOT NULL,
    attempted_at  timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    outcome       text,
    PRIMARY KEY (tenant_id, connection_id, id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

DO $$
DECLARE
    t text;
    mine constant text := $q$tenant_id =
        ANY ((SELECT nullif(current_setting('poblysh.tenants', true), '')::uuid[])::uuid[])$q$;
BEGIN
    FOREACH t IN ARRAY ARRAY['delivery_routes', 'directory_entries', 'person_credentials', 'token_rotations'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO poblysh_api, poblysh_worker USING (%s) WITH CHECK (%s)', t, mine, mine);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO poblysh_api, poblysh_worker', t);
    END LOOP;
END
$$;

CREATE POLICY route ON delivery_routes FOR SELECT TO poblysh_ingress, poblysh_worker USING (true);
GRANT SELECT (tenant_id, connection_id, provider, route) ON delivery_routes TO poblysh_ingress;
-- The alert on subscriptions that end unrenewed looks at all of them.
CREATE POLICY watch ON subscriptions FOR SELECT TO poblysh_worker USING (true);
