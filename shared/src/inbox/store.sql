-- Stores a batch of verified deliveries and enqueues jobs to process them, all or nothing.
--
-- delivery_dedup decides which deliveries are new: those of an earlier batch, or earlier in this
-- one, are skipped. Rows are inserted in key order, so that two batches cannot deadlock.
-- Deliveries of tenants whose share of the backlog is used up ($17) are rejected. Of unmatched
-- deliveries above a quota only the dedupe row is kept: $18 is the most bytes of an account, $19
-- says that the quota of all accounts is used up.
-- The caller appends the insert of `new_jobs` and selects the outcome of each delivery.
WITH input AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $8::text[], $9::uuid[], $14::bigint[],
        $15::uuid[], $16::uuid[]
    ) WITH ORDINALITY AS i(id, received_at, provider, dedupe_id, traceparent, job_id, bytes, own_tenant,
        own_connection, ord)
), requested_routes AS (
    SELECT i.ord, w.route, coalesce(w.id, i.id) AS id,
        count(w.route) OVER (PARTITION BY i.ord) > 1 AS several
    FROM input i
    LEFT JOIN unnest($11::bigint[], $12::text[], $13::uuid[]) AS w(ord, route, id) ON w.ord = i.ord
), routed AS MATERIALIZED (
    -- Each unmatched route of a delivery gets a separate row, which a rematch can assign.
    SELECT w.id, i.received_at, i.provider, w.route AS account_id, i.traceparent, i.job_id, i.bytes, i.ord,
        CASE WHEN r.tenant_id IS NULL AND w.several THEN i.dedupe_id || '@' || w.route
             ELSE i.dedupe_id END AS dedupe_id,
        coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000') AS tenant_id,
        coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000') = ANY ($17::uuid[]) AS rejected,
        r.connection_id
    FROM requested_routes w
    JOIN input i ON i.ord = w.ord
    LEFT JOIN LATERAL (
        SELECT c.tenant_id, c.connection_id FROM connection_routes c
        WHERE c.provider = i.provider AND c.account_id = w.route
        UNION ALL
        SELECT d.tenant_id, d.connection_id FROM delivery_routes d
        WHERE d.provider = i.provider AND d.route = w.route
        UNION ALL
        -- The connection whose own URL the delivery was sent to.
        SELECT o.tenant_id, o.connection_id FROM connection_routes o
        WHERE o.tenant_id = i.own_tenant AND o.connection_id = i.own_connection
    ) r ON true
), fresh AS (
    INSERT INTO delivery_dedup (tenant_id, provider, dedupe_id, received_at)
    SELECT tenant_id, provider, dedupe_id, min(received_at) FROM routed WHERE NOT rejected
    GROUP BY tenant_id, provider, dedupe_id
    ORDER BY tenant_id, provider, dedupe_id
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, provider, dedupe_id
), chosen AS MATERIALIZED (
    SELECT DISTINCT ON (r.tenant_id, r.provider, r.dedupe_id) r.*,
        r.tenant_id = '00000000-0000-0000-0000-000000000000'
            AND ($19 OR coalesce(u.bytes, 0) + r.bytes > $18) AS digest_only
    FROM routed r JOIN fresh f
      ON f.tenant_id = r.tenant_id AND f.provider = r.provider AND f.dedupe_id = r.dedupe_id
    LEFT JOIN unmatched_accounts u
      ON r.tenant_id = '00000000-0000-0000-0000-000000000000'
        AND u.provider = r.provider AND u.account_id = coalesce(r.account_id, '')
    ORDER BY r.tenant_id, r.provider, r.dedupe_id, r.ord
), stored AS (
    INSERT INTO deliveries (tenant_id, received_at, id, connection_id, provider, account_id,
        dedupe_id, event, headers, body, traceparent, outcome)
    SELECT c.tenant_id, c.received_at, c.id, c.connection_id, c.provider, c.account_id,
        c.dedupe_id, i.event, i.headers::json, i.body, c.traceparent, 'pending'
    FROM chosen c
    JOIN unnest($5::text[], $6::text[], $7::bytea[])
        WITH ORDINALITY AS i(event, headers, body, ord) USING (ord)
    WHERE NOT c.digest_only
), counted AS (
    INSERT INTO unmatched_accounts AS u (provider, account_id, deliveries, bytes, digests)
    SELECT provider, coalesce(account_id, ''), count(*) FILTER (WHERE NOT digest_only),
        coalesce(sum(bytes) FILTER (WHERE NOT digest_only), 0), count(*) FILTER (WHERE digest_only)
    FROM chosen WHERE tenant_id = '00000000-0000-0000-0000-000000000000'
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (provider, account_id) DO UPDATE SET deliveries = u.deliveries + excluded.deliveries,
        bytes = u.bytes + excluded.bytes, digests = u.digests + excluded.digests, updated_at = now()
), new_jobs AS (
    SELECT c.tenant_id, (array_agg(c.job_id ORDER BY c.ord))[1] AS id,
        'process_deliveries'::job_kind AS kind, c.provider, NULL::uuid AS connection_id,
        NULL::text AS cursor_window, $10::smallint AS priority,
        json_build_object('kind', 'process_deliveries', 'deliveries', json_agg(c.id ORDER BY c.ord)) AS payload,
        sum(c.bytes)::bigint AS bytes, (array_agg(c.traceparent ORDER BY c.ord))[1] AS traceparent
    FROM chosen c
    WHERE NOT c.digest_only
    GROUP BY c.tenant_id, c.provider
)
