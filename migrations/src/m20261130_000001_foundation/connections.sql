-- Connections: a tenant's grant at one provider account, and its routes.

CREATE TYPE connection_status AS ENUM
    ('pending', 'active', 'paused', 'suspended', 'needs_reauth', 'disconnected');

CREATE TABLE connections (
    tenant_id                  uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id                         uuid NOT NULL,
    provider                   text NOT NULL,
    status                     connection_status NOT NULL,
    status_reason              text,
    account_id                 text,
    account_name               text,
    account_stable_id          text,
    settings                   json NOT NULL DEFAULT '{}',
    scopes                     text[] NOT NULL DEFAULT '{}',
    requester                  text,
    -- When a pending connection's approval expires; unused in other states.
    pending_until              timestamptz DEFAULT now() + interval '7 days',
    -- The provider's id of the person whose administration of the account was proved when the
    -- grant was given. Without that proof, the grant is never revoked for the whole account.
    administrator              text,
    administrator_proved_at    timestamptz,
    poll_interval_seconds      integer NOT NULL CHECK (poll_interval_seconds BETWEEN 30 AND 86400),
    -- Duration of the last incremental run. If it exceeds the poll interval, the interval of the
    -- route is longer than the connection's.
    run_seconds                integer NOT NULL DEFAULT 0,
    last_sync_at               timestamptz,
    last_error                 json,
    -- The backfill: when it began, from which its end is estimated, and when it ended.
    backfill_started_at        timestamptz,
    backfilled_at              timestamptz,
    -- Every fact of the time before `complete_through` is stored, by the transaction `complete_tx`
    -- or an earlier one. Readers use it once that transaction is below the feed's watermark, and
    -- its previous value, `previous_complete_through`, until then. `reconciled_through` and
    -- `previous_reconciled_through` are the same pair for the reconciliation pass. Each is the
    -- least of the connection's streams; `held_back_by` names the stream that holds them back.
    complete_through           timestamptz,
    complete_tx                xid8,
    previous_complete_through  timestamptz,
    reconciled_through         timestamptz,
    previous_reconciled_through timestamptz,
    held_back_by               json,
    -- Facts that a read found without a delivery: in total, and since the end of the last run; and
    -- how many times the poll interval is halved because of them.
    missed_count               bigint NOT NULL DEFAULT 0,
    run_missed                 bigint NOT NULL DEFAULT 0,
    missed_at                  timestamptz,
    poll_boost                 smallint NOT NULL DEFAULT 0,
    -- The health that lists filter by: its state and reason, which are codes of ours, and since
    -- when. It is written with the facts that it follows from, and reviewed when time changes it.
    health                     text NOT NULL DEFAULT 'backfilling',
    health_reason              text NOT NULL DEFAULT 'backfill_running',
    health_since               timestamptz NOT NULL DEFAULT now(),
    -- The state that the last event reported, since when the connection has it, and, once it has a
    -- better one, when an event reports that one. A worse one is reported at once.
    reported_health            text NOT NULL DEFAULT 'backfilling',
    reported_since             timestamptz NOT NULL DEFAULT now(),
    report_due_at              timestamptz,
    -- When the current grant was given: provider events about an older grant are ignored.
    connected_at               timestamptz NOT NULL DEFAULT now(),
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT connections_account_known CHECK (status IN ('pending', 'disconnected') OR account_id IS NOT NULL)
);
CREATE UNIQUE INDEX connections_account_once
    ON connections (tenant_id, provider, account_id) WHERE status <> 'disconnected';
CREATE INDEX connections_pending ON connections (pending_until) WHERE status = 'pending';
-- Lists of one state of health, and lists of all tenants. Text, because the planner may compare an
-- enumeration only after the policies, and so not in an index.
CREATE INDEX connections_health ON connections (tenant_id, health, id);
CREATE INDEX connections_all_health ON connections (health, id);
CREATE INDEX connections_all ON connections (id);

-- The part of a connection that is read across tenants: where its deliveries go, and when it is
-- polled next. It contains no names, settings or secrets.
CREATE TABLE connection_routes (
    tenant_id             uuid NOT NULL,
    connection_id         uuid NOT NULL,
    provider              text NOT NULL,
    account_id            text NOT NULL,
    exclusive             boolean NOT NULL,
    polling               boolean NOT NULL,
    poll_interval_seconds integer NOT NULL,
    next_sync_at          timestamptz NOT NULL DEFAULT now(),
    -- When deliveries last asked to read some of the streams; null once a job for them is enqueued.
    streams_requested_at  timestamptz,
    refresh_at            timestamptz,
    subscriptions_at      timestamptz,
    -- The next probe of a suspended or refused grant, the interval until the one after it (NULL is
    -- never), and the last probe.
    probe_at              timestamptz,
    probe_interval        interval,
    probed_at             timestamptz,
    routed_at             timestamptz NOT NULL DEFAULT now(),
    -- When time may change the connection's health, so that it is assessed again.
    health_review_at      timestamptz NOT NULL DEFAULT now(),
    -- The digest of the grant at the provider, where several connections share one; and whether
    -- this connection no longer uses it.
    grant_key             bytea CHECK (octet_length(grant_key) = 32),
    grant_released        boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE INDEX connection_routes_account ON connection_routes (provider, account_id);
CREATE UNIQUE INDEX connection_routes_exclusive
    ON connection_routes (provider, account_id) WHERE exclusive;
-- The webhook URL of a connection names only its id.
CREATE INDEX connection_routes_connection ON connection_routes (connection_id);
CREATE INDEX connection_routes_routed_at ON connection_routes (routed_at);
CREATE INDEX connection_routes_due ON connection_routes (next_sync_at) WHERE polling;
CREATE INDEX connection_routes_requested ON connection_routes (streams_requested_at)
    WHERE streams_requested_at IS NOT NULL;
CREATE INDEX connection_routes_refresh ON connection_routes (refresh_at) WHERE polling;
CREATE INDEX connection_routes_subscriptions ON connection_routes (subscriptions_at);
CREATE INDEX connection_routes_health_review ON connection_routes (health_review_at);
CREATE INDEX connection_routes_probe ON connection_routes (probe_at) WHERE probe_at IS NOT NULL;

CREATE INDEX connection_routes_grant ON connection_routes (grant_key) WHERE grant_key IS NOT NULL;

-- When a connection was last active, to the minute. `longest_gap_seconds` is the longest time
-- between two deliveries; it halves in two weeks. `missed_since_delivery` counts the facts that
-- reads found since the last delivery and that no delivery had reported.
CREATE TABLE connection_activity (
    tenant_id             uuid NOT NULL,
    connection_id         uuid NOT NULL,
    last_delivery_at      timestamptz,
    last_signal_at        timestamptz,
    longest_gap_seconds   double precision NOT NULL DEFAULT 0,
    missed_since_delivery bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, connection_id),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
) WITH (fillfactor = 50);

-- Facts that reads found without a delivery, per hour, for two days.
CREATE TABLE missed_facts (
    tenant_id     uuid NOT NULL,
    connection_id uuid NOT NULL,
    hour          timestamptz NOT NULL,
    facts         bigint NOT NULL,
    PRIMARY KEY (tenant_id, connection_id, hour),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);

-- Ends a connection's use of its grant. Returns whether another connection, of any tenant, still
-- uses the grant. Of two connections that end at the same time, the second one gets `false`. The
-- function runs as the owner, so it checks that the transaction names the tenant.
CREATE FUNCTION release_grant(of_tenant uuid, of_connection uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    key bytea;
BEGIN
    IF of_tenant <> ALL (coalesce(nullif(current_setting('poblysh.tenants', true), '')::uuid[], '{}')) THEN
        RAISE EXCEPTION 'release_grant: the transaction does not name tenant %', of_tenant;
    END IF;
    SELECT grant_key INTO key FROM connection_routes
    WHERE tenant_id = of_tenant AND connection_id = of_connection;
    IF key IS NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(encode(key, 'hex'), 0));
    UPDATE connection_routes SET grant_released = true
    WHERE tenant_id = of_tenant AND connection_id = of_connection;
    RETURN EXISTS (SELECT FROM connection_routes WHERE grant_key = key AND NOT grant_released);
END
$$;

-- Returns whether a connection, of any tenant, uses a grant. The function runs as the owner.
CREATE FUNCTION is_grant_used(key bytea) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM connection_routes WHERE grant_key = key AND NOT grant_released)
$$;

-- Routes of deliveries that do not name their account. One route may lead to several connections.
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

-- Returns whether another connection, of any tenant, has the route of a connection's subscription:
-- the provider then holds one subscription for both. The function runs as the owner, so it checks
-- that the transaction names the tenant.
CREATE FUNCTION is_subscription_shared(of_tenant uuid, of_connection uuid, of_route text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF of_tenant <> ALL (coalesce(nullif(current_setting('poblysh.tenants', true), '')::uuid[], '{}')) THEN
        RAISE EXCEPTION 'is_subscription_shared: the transaction does not name tenant %', of_tenant;
    END IF;
    RETURN EXISTS (
        SELECT FROM delivery_routes own
        JOIN delivery_routes other ON other.provider = own.provider AND other.route = own.route
        WHERE own.tenant_id = of_tenant AND own.connection_id = of_connection AND own.route = of_route
          AND (other.tenant_id, other.connection_id) <> (of_tenant, of_connection)
    );
END
$$;

-- Connect links: a tenant's offers to connect an account. Every browser that opens a link starts a
-- separate flow; the first flow that ends with a connection consumes the link. Only the hash of the
-- link's token is stored. `connection_id` is the pending connection that an administrator approves
-- by opening the link.
CREATE TABLE connect_links (
    tenant_id     uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    link_hash     bytea NOT NULL CHECK (octet_length(link_hash) = 32),
    provider      text NOT NULL,
    return_to     text,
    connection_id uuid,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz,
    PRIMARY KEY (tenant_id, link_hash)
);
CREATE UNIQUE INDEX connect_links_link_hash ON connect_links (link_hash);
CREATE INDEX connect_links_expires_at ON connect_links (expires_at);

-- Authorization steps of connect flows. Only the hash of the state is stored. `link_hash` is the
-- flow's connect link; `response` is the sealed response to the callback, which the same browser
-- receives again when it repeats the callback.
CREATE TABLE oauth_states (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    state_hash   bytea NOT NULL CHECK (octet_length(state_hash) = 32),
    link_hash    bytea CHECK (octet_length(link_hash) = 32),
    provider     text NOT NULL,
    browser_hash bytea,
    sealed       bytea NOT NULL,
    response     bytea,
    return_to    text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    PRIMARY KEY (tenant_id, state_hash)
);
CREATE UNIQUE INDEX oauth_states_state_hash ON oauth_states (state_hash);
CREATE INDEX oauth_states_expires_at ON oauth_states (expires_at);
-- The outcomes of a link in one browser. Steps without an outcome, of which strangers can create many
-- from a link, are not in it.
CREATE INDEX oauth_states_answered ON oauth_states (link_hash, browser_hash) WHERE response IS NOT NULL;
