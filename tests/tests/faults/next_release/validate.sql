-- Reads every row and blocks no writes.
ALTER TABLE signals VALIDATE CONSTRAINT next_occurred_at;
