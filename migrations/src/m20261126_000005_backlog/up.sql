-- What a job has to work through, so that what waits can be bounded by those who may not
-- read it.
ALTER TABLE jobs ADD COLUMN bytes bigint NOT NULL DEFAULT 0;

-- An index for each lane of the queue, walked one tenant at a time: a hundred thousand jobs in
-- one lane are not so much as passed over in the other. The release before claims by jobs_claim.
CREATE INDEX jobs_deliveries ON jobs (tenant_id, priority, run_at, id) INCLUDE (bytes)
    WHERE state = 'queued' AND kind = 'process_deliveries';
CREATE INDEX jobs_others ON jobs (tenant_id, priority, run_at, id)
    WHERE state = 'queued' AND kind <> 'process_deliveries';

-- Ingress sees how much waits, and whose or what nothing.
CREATE POLICY backlog ON jobs FOR SELECT TO poblysh_ingress USING (true);
GRANT SELECT (kind, state, bytes) ON jobs TO poblysh_ingress;
