-- The name under which somebody works on actions of a workspace: a login, a token, or a person who signed in by OpenID
-- Connect, whom colleagues may also name by the email. Each must be known to be an operator there, or the action would wait
-- for somebody who cannot work on it. What somebody may see who is not an operator there is nobody's business: they are
-- answered like an unknown name.
--
-- Where people share the login of the daemon, their names are theirs to choose, and nobody can check them. Only such people
-- give each other actions by a name alone; all others say at which login it is.
create function reconciler.assignee(p_name text, p_workspace_id text) returns text
    language plpgsql stable set search_path = pg_catalog, pg_temp as
$$
declare
    v_person constant text := (
        select p.actor from reconciler.people p
        where p_name in (p.actor, p.email) and p.role <> 'viewer'
          and coalesce(p_workspace_id = any (p.workspaces), true)
        order by p.signed_in_at desc limit 1);
    v_logins constant text[] := array(
        select r.rolname::text from pg_roles r
        where r.rolcanlogin and not r.rolsuper and pg_has_role(r.oid, 'reconciler_operator', 'member')
          and not pg_has_role(r.oid, 'reconciler_daemon', 'member')
          and not exists (select from reconciler.login_workspaces w
                          where w.login = r.rolname and p_workspace_id <> all (w.workspaces))
        order by r.rolname);
    v_is_free constant boolean := p_name !~ '^(token|oidc):'
        and not exists (select from reconciler.people p where p.email = p_name)
        and (reconciler.person(p_name) <> regexp_replace(p_name, '^.* via login ', '')
             or pg_has_role(session_user, 'reconciler_daemon', 'member')
                and reconciler.current_actor() !~ '^(token|oidc):');
begin
    if v_person is not null then
        return v_person;
    end if;
    if reconciler.person(p_name) = any (v_logins) or v_is_free
       or exists (select from reconciler.tokens t
                  where p_name = 'token:' || t.name and t.role <> 'viewer' and t.revoked_at is null and t.expires_at > now()
                    and coalesce(p_workspace_id = any (t.workspaces), true)) then
        return p_name;
    end if;
    raise exception 'nobody who may work on manual actions of workspace % is called %', p_workspace_id, p_name
        using errcode = 'P0409',
              hint = format('Logins: %s. Tokens are called token:NAME. Who signs in to the console is known by the email '
                            'once they have signed in. A person at the login of the daemon is called NAME via login LOGIN.',
                            array_to_string(v_logins, ', '));
end
$$;
