-- The streams of connections with their cursors, push subscriptions, and the names of objects that
-- facts mention by id only.

CREATE TABLE cursors (
    tenant_id             uuid NOT NULL,
    connection_id         uuid NOT NULL,
    stream                text NOT NULL,
    resource_id           text,
    target                json NOT NULL,
    cursor                json,
    version               bigint NOT NULL DEFAULT 0,
    -- The floor: facts from before are never reported. It does not move forward. `resync_from` is
    -- the lower bound of the read that replaced the last expired cursor. `progress` is the part of
    -- the first read that is done, from 0 to 1.
    backfill_from         timestamptz NOT NULL,
    resync_from           timestamptz,
    progress              real NOT NULL DEFAULT 0,
    -- Every fact of the time before `read_through` is stored. `attempted_through` is the upper
    -- bound of the last run that has finished the stream, successfully or not; a run resumes with
    -- the streams below its own upper bound. `pending_upper_bound` is the upper bound of a run that
    -- has begun to read the stream and has not finished it.
    read_through          timestamptz,
    attempted_through     timestamptz,
    pending_upper_bound   timestamptz,
    -- The upper bound of the last pass over the list of streams that found this one.
    listed_at             timestamptz,
    -- Why the stream cannot be read, and since when. `failures` counts consecutive transient
    -- failures of the next page, which reduce the page size. `page_halvings` is the size that
    -- works, as the number of times that the default one is halved; `good_pages` counts the
    -- consecutive pages that were read in it.
    failing_since         timestamptz,
    failures              integer NOT NULL DEFAULT 0,
    failure               json,
    page_halvings         smallint NOT NULL DEFAULT 0,
    good_pages            smallint NOT NULL DEFAULT 0,
    -- When a delivery last asked to read the stream; null once it has been read since.
    requested_at          timestamptz,
    -- Facts that a read found without a delivery, until they are added to the connection's count.
    missed_count          bigint NOT NULL DEFAULT 0,
    -- The reconciliation pass: the time before which the stream is reconciled, the next due time,
    -- and, while it runs, its cursor and upper bound; why the last pass could not read all of the
    -- stream, and since when no pass could.
    reconciled_through    timestamptz,
    reconcile_at          timestamptz NOT NULL DEFAULT now(),
    reconcile_cursor      json,
    reconcile_upper_bound timestamptz,
    reconcile_failure     json,
    unreconciled_since    timestamptz,
    retired_at            timestamptz,
    retired_reason        text,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, stream),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
) WITH (fillfactor = 80);
-- The streams that cannot be read, over all tenants.
CREATE INDEX cursors_failing ON cursors (failing_since)
    WHERE failing_since IS NOT NULL AND retired_at IS NULL;

-- Push subscriptions, at providers that want one per resource. A row is a subscription that must
-- exist (`desired`) or must end. `external_id` is null until the provider has given one;
-- `attempted_at` is written before the call, so that a lost response can be detected; so is
-- `planned_id`, at providers that accept an id from us, and the route that it is. A subscription
-- that another one has replaced has a row of its own until it has ended.
CREATE TABLE subscriptions (
    tenant_id      uuid NOT NULL,
    connection_id  uuid NOT NULL,
    id             uuid NOT NULL,
    resource       text NOT NULL,
    target         json NOT NULL DEFAULT '{}',
    route          text,
    desired        boolean NOT NULL DEFAULT true,
    external_id    text,
    planned_id     text,
    -- The connector's own data, which the end of a subscription needs.
    state          json NOT NULL DEFAULT 'null',
    -- Events that the provider refused; the others were registered without them.
    refused_events text[] NOT NULL DEFAULT '{}',
    attempted_at   timestamptz,
    expires_at     timestamptz,
    renewed_at     timestamptz,
    -- The upper bound of the last pass over the list of streams that required this subscription.
    listed_at      timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, connection_id, resource),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE INDEX subscriptions_expires_at ON subscriptions (expires_at);

-- Names of people, channels and statuses. The provider has no name for an entry without one.
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
