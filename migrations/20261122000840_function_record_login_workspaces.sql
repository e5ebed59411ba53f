-- Stamps who bound a login to workspaces and when, and records the old and the new list in the trail.
create function reconciler.record_login_workspaces() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if tg_op <> 'DELETE' then
        new.set_at := clock_timestamp();
        new.set_by := reconciler.current_actor();
    end if;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values (case tg_op when 'DELETE' then 'login.unbound' else 'login.bound' end, '', 'login',
            case tg_op when 'DELETE' then old.login else new.login end,
            jsonb_strip_nulls(jsonb_build_object('from', case when tg_op <> 'INSERT' then old.workspaces end,
                                                 'to', case when tg_op <> 'DELETE' then new.workspaces end)));
    return case tg_op when 'DELETE' then old else new end;
end
$$;

create trigger bindings_of_logins_are_recorded
    before insert or update or delete on reconciler.login_workspaces
    for each row execute function reconciler.record_login_workspaces();
