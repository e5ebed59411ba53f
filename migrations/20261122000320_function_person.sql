-- The person behind an actor. See is_same_person.
create function reconciler.person(p_actor text) returns text
    language sql stable set search_path = pg_catalog, pg_temp as
$$
    select case
        when p_actor !~ ' via login ' then p_actor
        when exists (select from pg_roles
                     where rolname = regexp_replace(p_actor, '^.* via login ', '')
                       and pg_has_role(oid, 'reconciler_daemon', 'member'))
            then regexp_replace(p_actor, ' via login (?!.* via login ).*$', '')
        else regexp_replace(p_actor, '^.* via login ', '')
    end
$$;

comment on function reconciler.person(text) is
    'Returns the person behind an actor: the login; at the login of the daemon, which people share, the name.';
