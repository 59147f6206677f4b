-- A nullable column of a partitioned table.
ALTER TABLE deliveries ADD COLUMN next_note text;
