-- What is read from a connection: the cursors of its streams, its push subscriptions, and the
-- names of what its objects mention by id only.

CREATE TABLE cursors (
    tenant_id          uuid NOT NULL,
    connection_id      uuid NOT NULL,
    stream             text NOT NULL,
    resource_id        text,
    target             json NOT NULL,
    cursor             json,
    version            bigint NOT NULL DEFAULT 0,
    -- The lower bound of the first read, and how much of that read is done, from 0 to 1.
    horizon            timestamptz NOT NULL,
    progress           real NOT NULL DEFAULT 0,
    -- Every fact of the time before `read_through` is stored. `attempted_through` is the upper
    -- bound of the last run that is finished with the stream, whether or not it could be read; a
    -- run resumes with the streams below its own upper bound. `unfinished_until` is the upper
    -- bound of a run that has begun to read the stream and has not finished it.
    read_through       timestamptz,
    attempted_through  timestamptz,
    unfinished_until   timestamptz,
    -- The upper bound of the last pass over the list of streams that found this one.
    listed_at          timestamptz,
    -- Why the stream cannot be read, and since when. `failures` counts transient failures of the
    -- next page in a row: they make the page size smaller. `page_halvings` is the size that works,
    -- as the number of times that the usual one is halved, and `good_pages` counts the pages in a
    -- row that were read in it.
    failing_since      timestamptz,
    failures           integer NOT NULL DEFAULT 0,
    failure            json,
    page_halvings      smallint NOT NULL DEFAULT 0,
    good_pages         smallint NOT NULL DEFAULT 0,
    -- Facts that a read found and no delivery had reported, until the connection counts them.
    missed_count       bigint NOT NULL DEFAULT 0,
    -- The reconciliation pass: how far it has read the stream again, when it is due next, and,
    -- while it runs, its cursor and its upper bound; why the last one could not read all of the
    -- stream, and since when none could.
    reconciled_through timestamptz,
    reconcile_at       timestamptz NOT NULL DEFAULT now(),
    reconcile_cursor   json,
    reconcile_bound    timestamptz,
    reconcile_failure  json,
    unreconciled_since timestamptz,
    retired_at         timestamptz,
    retired_why        text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, connection_id, stream),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
) WITH (fillfactor = 80);

-- Push subscriptions, at providers that want one per resource. A row is a subscription that must
-- exist (`wanted`) or must end. `external_id` is null until the provider has given one;
-- `attempted_at` is written before the call, so that a lost response is looked for.
CREATE TABLE subscriptions (
    tenant_id      uuid NOT NULL,
    connection_id  uuid NOT NULL,
    id             uuid NOT NULL,
    resource       text NOT NULL,
    target         json NOT NULL DEFAULT '{}',
    route          text,
    wanted         boolean NOT NULL DEFAULT true,
    external_id    text,
    -- Events that the provider refused; the others were registered without them.
    refused_events text[] NOT NULL DEFAULT '{}',
    attempted_at   timestamptz,
    expires_at     timestamptz,
    renewed_at     timestamptz,
    -- The upper bound of the last pass over the list of streams that wanted this subscription.
    listed_at      timestamptz,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, connection_id, resource),
    FOREIGN KEY (tenant_id, connection_id) REFERENCES connections ON DELETE CASCADE
);
CREATE INDEX subscriptions_expires_at ON subscriptions (expires_at);

-- Names of people, channels and statuses. An entry without a name is one that the provider does
-- not describe.
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
