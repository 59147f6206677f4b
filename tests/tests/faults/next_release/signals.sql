-- A nullable column, and a constraint that checks only new rows until it is validated.
ALTER TABLE signals ADD COLUMN next_note text;
ALTER TABLE signals ADD CONSTRAINT next_occurred_at CHECK (occurred_at > '1970-01-01') NOT VALID;
