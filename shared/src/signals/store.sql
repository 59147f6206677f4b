-- Served by signals_once; rows that conflict are known facts.
INSERT INTO signals (tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at,
    received_at, body, raw, traceparent, schema_version)
SELECT s.tenant_id, s.id, s.connection_id, s.source, s.kind, s.dedupe_key, s.occurred_at,
    s.received_at, s.body::json, s.raw::json, s.traceparent, $12
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
    $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[])
    AS s(tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at, received_at, body,
         raw, traceparent)
ON CONFLICT ON CONSTRAINT signals_once DO NOTHING
RETURNING source, kind, occurred_at
