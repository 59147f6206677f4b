-- Dead jobs are few among many finished ones, and the first that people look for.
CREATE INDEX job_history_dead ON job_history (tenant_id, id) WHERE state = 'dead';
