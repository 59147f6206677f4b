-- Reads every row, and lets others write meanwhile.
ALTER TABLE signals VALIDATE CONSTRAINT next_occurred_at;
