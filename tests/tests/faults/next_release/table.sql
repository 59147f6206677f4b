-- A new table with tenant data.
CREATE TABLE next_labels (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id        uuid NOT NULL,
    label     text NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
ALTER TABLE next_labels ENABLE ROW LEVEL SECURITY;
ALTER TABLE next_labels FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON next_labels TO poblysh_api, poblysh_worker
    USING (tenant_id = ANY ((SELECT nullif(current_setting('poblysh.tenants', true), '')::uuid[])::uuid[]))
    WITH CHECK (tenant_id = ANY ((SELECT nullif(current_setting('poblysh.tenants', true), '')::uuid[])::uuid[]));
GRANT SELECT, INSERT ON next_labels TO poblysh_api, poblysh_worker;
