-- The workspaces of the present session, of which every policy of row-level security is made.
--
-- A login is bound by its row, which the session cannot change. The daemon's sessions may see everything, unless they have
-- taken the role of a person: then the list that belongs to the person holds, and a list that was forgotten is empty.
--
-- Each statement asks for each of its tables. PostgreSQL plans a function in SQL anew for each statement, which took four
-- times as long as the plans of PL/pgSQL, which a session keeps.
create function reconciler.own_workspaces() returns text[]
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if not pg_has_role(session_user, 'reconciler_daemon', 'member') then
        return (select w.workspaces from reconciler.login_workspaces w where w.login = session_user);
    end if;
    if current_setting('role') <> 'none' and current_setting('reconciler.workspaces', true) is distinct from '*' then
        return string_to_array(coalesce(current_setting('reconciler.workspaces', true), ''), ',');
    end if;
    return null;
end
$$;

comment on function reconciler.own_workspaces() is
    'Returns the workspaces that the present session may see and change; null for all.';
