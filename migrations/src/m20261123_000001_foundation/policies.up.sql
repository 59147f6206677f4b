-- The second lock. A transaction says whose rows it is about in `poblysh.tenants` (a uuid
-- array); what it does not say it does not see. The subselect is evaluated once per
-- statement, so the policies cost the indexes nothing.

DO $$
DECLARE
    t text;
    mine constant text :=
        'tenant_id = ANY ((SELECT nullif(current_setting(''poblysh.tenants'', true), '''')::uuid[])::uuid[])';
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'api_keys', 'connections', 'connection_routes', 'oauth_states', 'credentials', 'cursors',
        'subscriptions', 'deliveries', 'delivery_ledger', 'jobs', 'job_history', 'signals',
        'idempotency_keys', 'audit_log'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO poblysh_api, poblysh_worker USING (%s) WITH CHECK (%s)', t, mine, mine);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['deliveries_default', 'job_history_default'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    END LOOP;
END
$$;

-- Tenants themselves: operators list them, everybody else sees the own one.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tenants TO poblysh_api USING (true) WITH CHECK (true);

-- A row that names a secret opens for whoever knows the secret: that is how a bearer key
-- and the state of a connect flow are looked up before any tenant is known.
CREATE POLICY by_secret ON api_keys FOR SELECT TO poblysh_api
    USING (key_hash = decode(nullif(current_setting('poblysh.secret_hash', true), ''), 'hex'));
CREATE POLICY by_secret ON oauth_states FOR SELECT TO poblysh_api
    USING (state_hash = decode(nullif(current_setting('poblysh.secret_hash', true), ''), 'hex'));

-- Ingress routes for every tenant, reads no delivery and writes nothing else.
CREATE POLICY route ON connection_routes FOR SELECT TO poblysh_ingress USING (true);
CREATE POLICY store ON deliveries FOR INSERT TO poblysh_ingress WITH CHECK (true);
CREATE POLICY store ON delivery_ledger FOR INSERT TO poblysh_ingress WITH CHECK (true);
CREATE POLICY seen ON delivery_ledger FOR SELECT TO poblysh_ingress USING (true);
CREATE POLICY enqueue ON jobs FOR INSERT TO poblysh_ingress WITH CHECK (true);

-- The queue and the schedule are read across tenants; a claimed job then names its own.
CREATE POLICY claim ON jobs TO poblysh_worker USING (true) WITH CHECK (true);
CREATE POLICY finish ON job_history FOR INSERT TO poblysh_worker WITH CHECK (true);
CREATE POLICY schedule ON connection_routes FOR SELECT TO poblysh_worker USING (true);
CREATE POLICY reschedule ON connection_routes FOR UPDATE TO poblysh_worker USING (true) WITH CHECK (true);
-- A connection that waits for somebody's approval is found by who asked for it.
CREATE POLICY pending ON connections FOR SELECT TO poblysh_worker USING (status = 'pending');
-- Retention: old rows go, whoever they belonged to.
CREATE POLICY expire ON delivery_ledger FOR DELETE TO poblysh_worker
    USING (received_at < now() - interval '30 days');
CREATE POLICY expired ON delivery_ledger FOR SELECT TO poblysh_worker
    USING (received_at < now() - interval '30 days');
CREATE POLICY expire ON oauth_states FOR DELETE TO poblysh_worker USING (expires_at < now());
CREATE POLICY expired ON oauth_states FOR SELECT TO poblysh_worker USING (expires_at < now());
CREATE POLICY expire ON idempotency_keys FOR DELETE TO poblysh_worker
    USING (created_at < now() - interval '1 day');
CREATE POLICY expired ON idempotency_keys FOR SELECT TO poblysh_worker
    USING (created_at < now() - interval '1 day');

GRANT SELECT, INSERT ON tenants TO poblysh_api;
GRANT SELECT, INSERT, UPDATE ON api_keys TO poblysh_api;
GRANT SELECT, INSERT, UPDATE ON connections TO poblysh_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON connection_routes, oauth_states, credentials, cursors, subscriptions TO poblysh_api;
GRANT SELECT, INSERT, UPDATE ON deliveries TO poblysh_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO poblysh_api;
GRANT SELECT, INSERT ON job_history, audit_log, idempotency_keys TO poblysh_api;
GRANT SELECT ON signals, feed_generations TO poblysh_api;
GRANT SELECT, INSERT, UPDATE ON rate_budgets TO poblysh_api;

GRANT SELECT (tenant_id, connection_id, provider, account_id) ON connection_routes TO poblysh_ingress;
GRANT INSERT ON deliveries, jobs TO poblysh_ingress;
GRANT INSERT, SELECT ON delivery_ledger TO poblysh_ingress;

GRANT SELECT, UPDATE ON connections TO poblysh_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON connection_routes TO poblysh_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON credentials, cursors, subscriptions TO poblysh_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries, jobs, workers, periodic_tasks TO poblysh_worker;
GRANT SELECT, INSERT, DELETE ON delivery_ledger TO poblysh_worker;
GRANT SELECT, INSERT ON job_history, signals, audit_log TO poblysh_worker;
GRANT SELECT, DELETE ON oauth_states, idempotency_keys TO poblysh_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON rate_budgets TO poblysh_worker;
GRANT SELECT ON feed_generations TO poblysh_worker;
GRANT USAGE ON SEQUENCE job_lease_tokens TO poblysh_worker;
GRANT EXECUTE ON FUNCTION ensure_partitions(integer), drop_partitions(text, integer) TO poblysh_worker;
