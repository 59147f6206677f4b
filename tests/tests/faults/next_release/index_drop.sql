-- The invalid index of an interrupted attempt.
DROP INDEX CONCURRENTLY IF EXISTS signals_next;
