DROP POLICY watch ON subscriptions;
DROP TABLE token_rotations, person_credentials, directory_entries, delivery_routes;
DELETE FROM subscriptions WHERE external_id IS NULL;
ALTER TABLE subscriptions
    DROP COLUMN target, DROP COLUMN route, DROP COLUMN wanted, DROP COLUMN attempted_at,
    ALTER COLUMN external_id SET NOT NULL;
ALTER TABLE rate_budgets DROP COLUMN asked_at;
ALTER TABLE deliveries DROP COLUMN copied;
ALTER TABLE connection_routes DROP COLUMN subscriptions_at;
ALTER TABLE connections DROP COLUMN connected_at;
DELETE FROM jobs WHERE kind::text IN ('look_up', 'fan_out_delivery', 'maintain_subscriptions');
DELETE FROM job_history WHERE kind::text IN ('look_up', 'fan_out_delivery', 'maintain_subscriptions');
