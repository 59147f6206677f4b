-- Creates the database and its owner, and gives the owner the password of the environment. Run as a
-- superuser by deploy/compose.yaml before the migrations; safe to repeat.
\set ON_ERROR_STOP on
\getenv password POBLYSH_OWNER_PASSWORD
SELECT 'CREATE ROLE poblysh' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'poblysh')
\gexec
ALTER ROLE poblysh LOGIN CREATEROLE PASSWORD :'password';
SELECT 'CREATE DATABASE poblysh OWNER poblysh' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'poblysh')
\gexec
