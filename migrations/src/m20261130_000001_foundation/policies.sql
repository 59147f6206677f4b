-- Row-level security, forced on every table with tenant data. A transaction names its tenants in
-- `poblysh.tenants` (a uuid array) and sees no other rows. The subselect is evaluated once per
-- statement, so the policies do not prevent index scans.

DO $$
DECLARE
    t text;
    scope constant text :=
        'tenant_id = ANY ((SELECT nullif(current_setting(''poblysh.tenants'', true), '''')::uuid[])::uuid[])';
    secured constant text[] := ARRAY[
        'api_keys', 'audit_log', 'connection_activity', 'connection_routes', 'connections', 'credentials', 'cursors', 'deliveries',
        'delivery_dedup', 'delivery_routes', 'directory_entries', 'events', 'idempotency_keys', 'job_history', 'jobs',
        'missed_facts', 'signals', 'subscriptions', 'token_refresh_log', 'webhook_arming', 'webhook_secrets'
    ];
BEGIN
    FOREACH t IN ARRAY secured || ARRAY['connect_links', 'deliveries_default', 'job_history_default', 'oauth_states', 'tenants'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    END LOOP;
    FOREACH t IN ARRAY secured LOOP
        EXECUTE format(
            'CREATE POLICY tenant ON %I TO poblysh_api, poblysh_worker USING (%s) WITH CHECK (%s)', t, scope, scope);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['connect_links', 'oauth_states'] LOOP
        EXECUTE format('CREATE POLICY tenant ON %I TO poblysh_api USING (%s) WITH CHECK (%s)', t, scope, scope);
    END LOOP;
END
$$;

-- The API: operators list all tenants, and handlers show a tenant only its own.
CREATE POLICY tenant ON tenants TO poblysh_api USING (true) WITH CHECK (true);

-- API keys, connect links and OAuth states are looked up before the tenant is known: a transaction
-- that names the secret's hash can see the row.
CREATE POLICY by_secret ON api_keys FOR SELECT TO poblysh_api
    USING (key_hash = decode(nullif(current_setting('poblysh.secret_hash', true), ''), 'hex'));
CREATE POLICY by_secret ON connect_links FOR SELECT TO poblysh_api
    USING (link_hash = decode(nullif(current_setting('poblysh.secret_hash', true), ''), 'hex'));
CREATE POLICY by_secret ON oauth_states FOR SELECT TO poblysh_api
    USING (state_hash = decode(nullif(current_setting('poblysh.secret_hash', true), ''), 'hex'));

-- Ingress routes and verifies for every tenant. It inserts deliveries without reading any, and
-- only jobs that process deliveries. privileges.sql limits the columns that it can read.
CREATE POLICY route ON connection_routes FOR SELECT TO poblysh_ingress USING (true);
CREATE POLICY route ON delivery_routes FOR SELECT TO poblysh_ingress, poblysh_worker USING (true);
CREATE POLICY verify ON webhook_secrets FOR SELECT TO poblysh_ingress USING (true);
-- accept_webhook_secret, release_grant, is_grant_used and is_subscription_shared run as the owner, to
-- whom these policies apply.
CREATE POLICY release_grant ON connection_routes TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY is_shared ON delivery_routes FOR SELECT TO CURRENT_USER USING (true);
CREATE POLICY accept_secret ON webhook_arming TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY accept_secret ON webhook_secrets TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY accept_secret ON audit_log FOR INSERT TO CURRENT_USER WITH CHECK (true);
CREATE POLICY store ON deliveries FOR INSERT TO poblysh_ingress WITH CHECK (true);
CREATE POLICY store ON delivery_dedup FOR INSERT TO poblysh_ingress WITH CHECK (true);
CREATE POLICY seen ON delivery_dedup FOR SELECT TO poblysh_ingress USING (true);
CREATE POLICY enqueue ON jobs FOR INSERT TO poblysh_ingress
    WITH CHECK (kind = 'process_deliveries' AND payload->>'kind' = 'process_deliveries'
        AND state = 'queued' AND connection_id IS NULL AND worker_id IS NULL
        AND cursor_window IS NULL);
CREATE POLICY backlog ON jobs FOR SELECT TO poblysh_ingress USING (true);

-- The worker reads queue and schedule across tenants; a claimed job then names its tenant.
CREATE POLICY claim ON jobs TO poblysh_worker USING (true) WITH CHECK (true);
CREATE POLICY finish ON job_history FOR INSERT TO poblysh_worker WITH CHECK (true);
CREATE POLICY schedule ON connection_routes FOR SELECT TO poblysh_worker USING (true);
CREATE POLICY reschedule ON connection_routes FOR UPDATE TO poblysh_worker USING (true) WITH CHECK (true);
-- A pending connection is found by its requester before its tenant is known.
CREATE POLICY pending ON connections FOR SELECT TO poblysh_worker USING (status = 'pending');
-- The alert on subscriptions that expire without renewal covers all tenants.
CREATE POLICY watch ON subscriptions FOR SELECT TO poblysh_worker USING (true);

-- Retention deletes expired rows of every tenant.
CREATE POLICY expire ON delivery_dedup FOR DELETE TO poblysh_worker
    USING (received_at < now() - interval '30 days');
CREATE POLICY expired ON delivery_dedup FOR SELECT TO poblysh_worker
    USING (received_at < now() - interval '30 days');
CREATE POLICY expire ON events FOR DELETE TO poblysh_worker
    USING (created_at < now() - interval '90 days');
CREATE POLICY expired ON events FOR SELECT TO poblysh_worker
    USING (created_at < now() - interval '90 days');
CREATE POLICY expire ON connect_links FOR DELETE TO poblysh_worker
    USING (expires_at < now() - interval '1 day');
CREATE POLICY expired ON connect_links FOR SELECT TO poblysh_worker
    USING (expires_at < now() - interval '1 day');
CREATE POLICY expire ON oauth_states FOR DELETE TO poblysh_worker USING (expires_at < now());
CREATE POLICY expired ON oauth_states FOR SELECT TO poblysh_worker USING (expires_at < now());
CREATE POLICY expire ON idempotency_keys FOR DELETE TO poblysh_worker
    USING (created_at < now() - interval '1 day');
CREATE POLICY expired ON idempotency_keys FOR SELECT TO poblysh_worker
    USING (created_at < now() - interval '1 day');

-- Operators read every tenant. privileges.sql leaves out secrets, bodies and raw data.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['audit_log', 'connection_activity', 'connection_routes', 'connections',
        'credentials', 'cursors', 'deliveries', 'events', 'job_history', 'jobs', 'missed_facts', 'signals',
        'subscriptions', 'tenants'] LOOP
        EXECUTE format('CREATE POLICY operator ON %I FOR SELECT TO poblysh_operator USING (true)', t);
    END LOOP;
END
$$;
