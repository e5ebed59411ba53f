-- Who acts. Sessions of the daemon act as daemon. Everybody else acts as their login, and the name that they give stands
-- beside it: nobody can write under another login. A token and a person whom the issuer of OpenID Connect named have no login:
-- the daemon, which has checked who they are, acts for them.
-- The function has no search path of its own, so that it is inlined: every line of the trail calls it.
create function reconciler.current_actor() returns text
    language sql stable as
$$
    select case
        when (pg_catalog.current_setting('reconciler.actor', true) = 'daemon'
              or pg_catalog.starts_with(pg_catalog.current_setting('reconciler.actor', true), 'token:')
              or pg_catalog.starts_with(pg_catalog.current_setting('reconciler.actor', true), 'oidc:'))
             and pg_catalog.pg_has_role(session_user, 'reconciler_daemon', 'member')
            then pg_catalog.current_setting('reconciler.actor', true)
        when pg_catalog.current_setting('reconciler.actor', true) <> session_user::text
             and pg_catalog.btrim(pg_catalog.current_setting('reconciler.actor', true)) <> ''
            then pg_catalog.current_setting('reconciler.actor', true) || ' via login ' || session_user
        else session_user::text
    end
$$;

comment on function reconciler.current_actor() is
    'Returns under which name the present session acts, as the trail records it: its login, NAME via login LOGIN where '
    'the session has set reconciler.actor to a name, token:NAME for a token, oidc:SUB for a person who signed in by OpenID '
    'Connect, or daemon.';
