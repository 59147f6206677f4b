DROP FUNCTION key_owner(bytea), ensure_partitions(integer), drop_partitions(text, integer),
    put_webhook_key(uuid, uuid, uuid, bytea, boolean, interval),
    accept_webhook_secret(uuid, uuid, uuid, bytea), release_grant(uuid, uuid), is_grant_used(bytea),
    is_subscription_shared(uuid, uuid, text),
    quota_pace(float8, float8, float8, float8, float8, integer, float8, float8);
DROP TABLE operator_sessions, operator_login_links, operators, audit_log, events, idempotency_keys, rate_budgets, feed_generations, signals, job_history, jobs,
    periodic_tasks, workers, unmatched_accounts, webhook_results, delivery_dedup, deliveries, directory_entries,
    subscriptions, cursors, webhook_arming, webhook_secrets, token_refresh_log, credentials, oauth_states,
    connect_links, delivery_routes, missed_facts, connection_activity, connection_routes, connections, api_keys, tenants;
DROP SEQUENCE job_lease_tokens;
DROP TYPE job_state, job_kind, delivery_source, delivery_outcome, connection_status, operator_role;

-- A role that another database of the cluster uses stays.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['poblysh_operator', 'poblysh_api', 'poblysh_ingress', 'poblysh_worker'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('DROP OWNED BY %I', name);
            BEGIN
                EXECUTE format('DROP ROLE %I', name);
            EXCEPTION WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;
