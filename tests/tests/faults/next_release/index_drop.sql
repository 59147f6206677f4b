-- What an interrupted attempt left.
DROP INDEX CONCURRENTLY IF EXISTS signals_next;
