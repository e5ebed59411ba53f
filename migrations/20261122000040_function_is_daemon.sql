-- The function has no search path of its own, so that it is inlined: only functions that have one call it, once for
-- each row.
create function reconciler.is_daemon() returns boolean
    language sql stable as
$$
    select pg_has_role(session_user, 'reconciler_daemon', 'member')
       and coalesce(current_setting('reconciler.actor', true), '') = 'daemon'
$$;

comment on function reconciler.is_daemon() is
    'Returns whether the daemon itself acts in the present transaction, and not a person.';
