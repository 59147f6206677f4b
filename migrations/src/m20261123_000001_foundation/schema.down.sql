DROP FUNCTION drop_partitions(text, integer);
DROP FUNCTION ensure_partitions(integer);
DROP TABLE audit_log, idempotency_keys, rate_budgets, feed_generations, signals, job_history,
    jobs, periodic_tasks, workers, delivery_ledger, deliveries, subscriptions, cursors, credentials,
    oauth_states, connection_routes, connections, api_keys, tenants;
DROP SEQUENCE job_lease_tokens;
DROP TYPE delivery_outcome, job_state, job_kind, connection_status;
