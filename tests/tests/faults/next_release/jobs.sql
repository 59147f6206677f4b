-- A column with a constant default, which rewrites no row, and an enum value that is not used yet.
ALTER TABLE jobs ADD COLUMN next_weight smallint NOT NULL DEFAULT 1;
ALTER TYPE job_kind ADD VALUE 'next_kind';
