-- The privileges of each process; policies.sql limits the rows.

GRANT USAGE ON SCHEMA public TO poblysh_api, poblysh_ingress, poblysh_worker, poblysh_operator;
REVOKE ALL ON FUNCTION key_owner(bytea), ensure_partitions(integer), drop_partitions(text, integer),
    put_webhook_key(uuid, uuid, uuid, bytea, boolean, interval),
    accept_webhook_secret(uuid, uuid, uuid, bytea), release_grant(uuid, uuid),
    is_grant_used(bytea), is_subscription_shared(uuid, uuid, text) FROM PUBLIC;

-- Each process can show which migrations are applied.
GRANT SELECT ON seaql_migrations TO poblysh_api, poblysh_ingress, poblysh_worker;

-- api-server. It creates and deletes webhook secrets, and re-encrypts them after a key rotation.
GRANT EXECUTE ON FUNCTION key_owner(bytea), put_webhook_key(uuid, uuid, uuid, bytea, boolean, interval),
    release_grant(uuid, uuid), is_grant_used(bytea), is_subscription_shared(uuid, uuid, text) TO poblysh_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON connect_links, connection_routes, credentials, cursors,
    delivery_routes, directory_entries, jobs, oauth_states, subscriptions, token_refresh_log,
    webhook_arming TO poblysh_api;
GRANT SELECT, INSERT, UPDATE ON api_keys, connections, deliveries, rate_budgets TO poblysh_api;
GRANT SELECT, INSERT ON audit_log, events, idempotency_keys, job_history, tenants TO poblysh_api;
GRANT SELECT, INSERT, UPDATE ON connection_activity TO poblysh_api;
GRANT SELECT, INSERT, UPDATE (role, expires_at, revoked_at, last_used_at) ON operators TO poblysh_api;
GRANT SELECT, INSERT, UPDATE (used_at), DELETE ON operator_login_links TO poblysh_api;
GRANT SELECT, INSERT, UPDATE (active_at, ended_at), DELETE ON operator_sessions TO poblysh_api;
-- Operators see which accounts without a connection send how much.
GRANT SELECT ON feed_generations, missed_facts, signals, unmatched_accounts, webhook_results TO poblysh_api;
GRANT SELECT, INSERT, UPDATE (expires_at, secret), DELETE ON webhook_secrets TO poblysh_api;

-- webhook-ingress. It sees the size of each tenant's backlog, but no contents.
GRANT INSERT ON deliveries, jobs TO poblysh_ingress;
GRANT INSERT, SELECT ON delivery_dedup TO poblysh_ingress;
GRANT SELECT, INSERT, UPDATE ON unmatched_accounts, webhook_results TO poblysh_ingress;
GRANT SELECT (tenant_id, connection_id, provider, account_id) ON connection_routes TO poblysh_ingress;
GRANT SELECT (tenant_id, connection_id, provider, route) ON delivery_routes TO poblysh_ingress;
GRANT SELECT (tenant_id, connection_id, secret, is_public_key, expires_at) ON webhook_secrets TO poblysh_ingress;
-- Its only write to them: the secret that an armed connection receives.
GRANT EXECUTE ON FUNCTION accept_webhook_secret(uuid, uuid, uuid, bytea) TO poblysh_ingress;
GRANT SELECT (tenant_id, kind, state, bytes) ON jobs TO poblysh_ingress;

-- sync-worker. It deletes webhook secrets, but cannot read them. It refreshes and erases tokens, but
-- stores none of a new grant.
GRANT EXECUTE ON FUNCTION ensure_partitions(integer), drop_partitions(text, integer),
    is_subscription_shared(uuid, uuid, text) TO poblysh_worker;
GRANT USAGE ON SEQUENCE job_lease_tokens TO poblysh_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON connection_routes, cursors, deliveries, delivery_routes,
    directory_entries, jobs, missed_facts, periodic_tasks, rate_budgets, subscriptions, token_refresh_log, workers
    TO poblysh_worker;
GRANT SELECT, UPDATE ON connection_activity, connections TO poblysh_worker;
GRANT SELECT, DELETE ON webhook_results TO poblysh_worker;
GRANT SELECT, UPDATE, DELETE ON credentials TO poblysh_worker;
GRANT SELECT, INSERT ON audit_log, job_history, signals TO poblysh_worker;
GRANT SELECT, INSERT, DELETE ON delivery_dedup, events TO poblysh_worker;
GRANT SELECT, UPDATE, DELETE ON unmatched_accounts TO poblysh_worker;
GRANT SELECT, DELETE ON connect_links, idempotency_keys, oauth_states TO poblysh_worker;
GRANT SELECT ON feed_generations TO poblysh_worker;
GRANT SELECT (tenant_id, connection_id), DELETE ON webhook_arming, webhook_secrets TO poblysh_worker;
-- Facts count as missed only where deliveries can report them.
GRANT SELECT (created_at) ON webhook_secrets TO poblysh_worker;

-- api-server, for operators: it reads every tenant, without secrets, bodies and raw data.
GRANT SELECT ON audit_log, connection_activity, connections, events, missed_facts, rate_budgets, tenants,
    unmatched_accounts, webhook_results, workers TO poblysh_operator;
GRANT SELECT (tenant_id, connection_id, provider, account_id, exclusive, polling, poll_interval_seconds,
    next_sync_at, streams_requested_at, refresh_at, subscriptions_at, probe_at, probe_interval, probed_at,
    routed_at, health_review_at) ON connection_routes TO poblysh_operator;
GRANT SELECT (tenant_id, connection_id, holder, version, expires_at, refresh_expires_at,
    refresh_attempted_at, updated_at) ON credentials TO poblysh_operator;
GRANT SELECT (tenant_id, connection_id, stream, resource_id, version, backfill_from, progress, read_through,
    attempted_through, pending_upper_bound, listed_at, failing_since, failures, failure, requested_at,
    missed_count, reconciled_through, reconcile_at, reconcile_upper_bound, reconcile_failure,
    unreconciled_since, retired_at, retired_reason, created_at, updated_at) ON cursors TO poblysh_operator;
GRANT SELECT (tenant_id, received_at, id, source, connection_id, provider, account_id, dedupe_id, event,
    traceparent, outcome, outcome_detail, signals, processed_at, copied) ON deliveries TO poblysh_operator;
GRANT SELECT (tenant_id, id, kind, provider, connection_id, cursor_window, state, priority, run_at, attempts,
    max_attempts, lost_attempts, payload, bytes, cancel_requested, last_error, traceparent, created_at,
    started_at) ON jobs TO poblysh_operator;
GRANT SELECT ON job_history TO poblysh_operator;
GRANT SELECT (id, name, role) ON operators TO poblysh_operator;
GRANT SELECT (tenant_id, id, connection_id, source, kind, dedupe_key, occurred_at, received_at, tx_id, seq,
    schema_version, body, traceparent) ON signals TO poblysh_operator;
GRANT SELECT (tenant_id, connection_id, id, resource, desired, external_id, refused_events, attempted_at,
    expires_at, renewed_at, listed_at, created_at) ON subscriptions TO poblysh_operator;
