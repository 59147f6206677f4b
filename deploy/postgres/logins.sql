-- Lets the processes' roles log in, with the passwords of the environment. Run as a superuser or as
-- the owner after the migrations, which create the roles; safe to repeat.
\set ON_ERROR_STOP on
\getenv api POBLYSH_API_PASSWORD
\getenv ingress POBLYSH_INGRESS_PASSWORD
\getenv worker POBLYSH_WORKER_PASSWORD
ALTER ROLE poblysh_api LOGIN PASSWORD :'api';
ALTER ROLE poblysh_ingress LOGIN PASSWORD :'ingress';
ALTER ROLE poblysh_worker LOGIN PASSWORD :'worker';
