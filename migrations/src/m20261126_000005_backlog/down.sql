REVOKE SELECT (kind, state, bytes) ON jobs FROM poblysh_ingress;
DROP POLICY backlog ON jobs;
DROP INDEX jobs_deliveries;
DROP INDEX jobs_others;
ALTER TABLE jobs DROP COLUMN bytes;
