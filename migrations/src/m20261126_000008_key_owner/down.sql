DROP FUNCTION key_owner(bytea);
