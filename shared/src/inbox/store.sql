-- Files a batch of verified deliveries and asks for their processing, all or nothing.
-- The ledger decides what is new: a delivery seen before, in this batch or ever, is left
-- out. Rows go in by key order, so that two batches cannot wait for each other in a circle.
WITH input AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $8::text[], $9::uuid[], $14::bigint[]
    ) WITH ORDINALITY AS i(id, received_at, provider, dedupe_id, traceparent, job_id, bytes, ord)
), wanted AS (
    SELECT i.ord, w.route, coalesce(w.id, i.id) AS id,
        count(w.route) OVER (PARTITION BY i.ord) > 1 AS several
    FROM input i
    LEFT JOIN unnest($11::bigint[], $12::text[], $13::uuid[]) AS w(ord, route, id) ON w.ord = i.ord
), routed AS MATERIALIZED (
    -- A route that leads nowhere yet keeps a delivery of its own, to be handed over later.
    SELECT w.id, i.received_at, i.provider, w.route AS account_id, i.traceparent, i.job_id, i.bytes, i.ord,
        CASE WHEN r.tenant_id IS NULL AND w.several THEN i.dedupe_id || '@' || w.route
             ELSE i.dedupe_id END AS dedupe_id,
        coalesce(r.tenant_id, '00000000-0000-0000-0000-000000000000') AS tenant_id,
        r.connection_id
    FROM wanted w
    JOIN input i ON i.ord = w.ord
    LEFT JOIN LATERAL (
        SELECT c.tenant_id, c.connection_id FROM connection_routes c
        WHERE c.provider = i.provider AND c.account_id = w.route
        UNION ALL
        SELECT d.tenant_id, d.connection_id FROM delivery_routes d
        WHERE d.provider = i.provider AND d.route = w.route
    ) r ON true
), fresh AS (
    INSERT INTO delivery_ledger (tenant_id, provider, dedupe_id, received_at)
    SELECT tenant_id, provider, dedupe_id, min(received_at) FROM routed
    GROUP BY tenant_id, provider, dedupe_id
    ORDER BY tenant_id, provider, dedupe_id
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, provider, dedupe_id
), chosen AS MATERIALIZED (
    SELECT DISTINCT ON (r.tenant_id, r.provider, r.dedupe_id) r.*
    FROM routed r JOIN fresh f
      ON f.tenant_id = r.tenant_id AND f.provider = r.provider AND f.dedupe_id = r.dedupe_id
    ORDER BY r.tenant_id, r.provider, r.dedupe_id, r.ord
), stored AS (
    INSERT INTO deliveries (tenant_id, received_at, id, connection_id, provider, account_id,
        dedupe_id, event, headers, body, traceparent, outcome)
    SELECT c.tenant_id, c.received_at, c.id, c.connection_id, c.provider, c.account_id,
        c.dedupe_id, i.event, i.headers::json, i.body, c.traceparent, 'pending'
    FROM chosen c
    JOIN unnest($5::text[], $6::text[], $7::bytea[])
        WITH ORDINALITY AS i(event, headers, body, ord) USING (ord)
), queued AS (
    INSERT INTO jobs (tenant_id, id, kind, provider, priority, payload, bytes, traceparent)
    SELECT c.tenant_id, (array_agg(c.job_id ORDER BY c.ord))[1], 'process_deliveries', c.provider, $10,
        json_build_object('kind', 'process_deliveries', 'deliveries', json_agg(c.id ORDER BY c.ord)),
        sum(c.bytes),
        (array_agg(c.traceparent ORDER BY c.ord))[1]
    FROM chosen c
    GROUP BY c.tenant_id, c.provider
)
SELECT DISTINCT ord FROM chosen
