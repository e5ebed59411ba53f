-- The name under which somebody works on actions: a login or a token that may do so, or a person who signed in by OpenID
-- Connect, whom colleagues may also name by the email. Where people share the login of the
-- daemon, their names are theirs to choose, and nobody can check them.
create function reconciler.assignee(p_name text) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp as
$$
declare
    v_person constant text := (select p.actor from reconciler.people p where p_name in (p.actor, p.email)
                               order by p.signed_in_at desc limit 1);
    v_logins text[] := array(select rolname::text from pg_roles
                             where rolcanlogin and not rolsuper and pg_has_role(oid, 'reconciler_operator', 'member')
                               and not pg_has_role(oid, 'reconciler_daemon', 'member')
                             order by rolname);
begin
    if v_person is not null then
        return v_person;
    end if;
    if reconciler.person(p_name) = any (v_logins)
       or exists (select from reconciler.tokens t
                  where p_name = 'token:' || t.name and t.role <> 'viewer' and t.revoked_at is null and t.expires_at > now())
       or reconciler.person(p_name) <> regexp_replace(p_name, '^.* via login ', '')
       or pg_has_role(session_user, 'reconciler_daemon', 'member') then
        return p_name;
    end if;
    raise exception 'nobody who may work on manual actions is called %', p_name
        using errcode = 'no_data_found',
              hint = format('Logins: %s. A person at the login of the daemon is called NAME via login LOGIN.',
                            array_to_string(v_logins, ', '));
end
$$;
