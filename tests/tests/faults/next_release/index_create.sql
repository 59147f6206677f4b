-- An index that is built while other transactions write rows.
CREATE INDEX CONCURRENTLY signals_next ON signals (tenant_id, kind, occurred_at);
