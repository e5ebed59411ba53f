-- Creates the logins of the daemon and of the backend, or renews their passwords. Run it after the migration:
--   psql OWNER_URL -v daemon_password=… -v backend_password=… -f deploy/logins.sql
-- Each person gets a login too: create role kim login password '…' in role reconciler_operator;
\set ON_ERROR_STOP on

select format('create role %I login in role %I', login, role)
from (values ('cerby_daemon', 'reconciler_daemon'), ('cerby_backend', 'reconciler_backend')) wanted (login, role)
where not exists (select from pg_roles where rolname = login)
\gexec

alter role cerby_daemon password :'daemon_password';
alter role cerby_backend password :'backend_password';
