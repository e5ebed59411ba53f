-- The actor. The daemon sets its actor per transaction: itself or a person at the command line. Everyone else acts
-- under the name of their login, so nobody can write under the name of another login. The function has no search path
-- of its own, so that it is inlined: every line of the trail calls it.
create function reconciler.current_actor() returns text
    language sql stable as
$$
    select case
        when not pg_catalog.pg_has_role(session_user, 'reconciler_daemon', 'member') then session_user::text
        when pg_catalog.current_setting('reconciler.actor', true) = 'daemon' then 'daemon'
        else coalesce('cli:' || pg_catalog.regexp_replace(
                          nullif(pg_catalog.current_setting('reconciler.actor', true), ''), '^cli:', ''),
                      session_user::text)
    end
$$;

comment on function reconciler.current_actor() is
    'Returns under which name the present session acts, as the trail records it: its login, daemon, or cli:NAME for a '
    'person at the command line.';
