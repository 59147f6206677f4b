ALTER TABLE connections
    DROP COLUMN complete_through, DROP COLUMN complete_tx, DROP COLUMN settled_through;
ALTER TABLE cursors DROP COLUMN unfinished_until;
