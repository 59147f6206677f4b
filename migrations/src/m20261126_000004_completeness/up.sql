-- How far a connection has been read: everything that the provider showed of the time before
-- `complete_through` has been written, by the transaction `complete_tx` or an earlier one.
-- Readers believe it once that transaction is below the feed's watermark, and until then
-- `settled_through`, which stood before it.
ALTER TABLE connections ADD COLUMN complete_through timestamptz;
ALTER TABLE connections ADD COLUMN complete_tx xid8;
ALTER TABLE connections ADD COLUMN settled_through timestamptz;

-- The bound of a run that has begun to read a stream and has not ended it. A later run first
-- ends that, and then reads what has come since.
ALTER TABLE cursors ADD COLUMN unfinished_until timestamptz;
