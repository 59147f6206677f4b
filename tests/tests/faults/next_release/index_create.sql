-- Built while rows are written, which takes as long as it takes.
CREATE INDEX CONCURRENTLY signals_next ON signals (tenant_id, kind, occurred_at);
