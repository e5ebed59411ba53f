-- A person gives back an action that they work on.
create function reconciler.release_action(p_action_id bigint) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    if a.status <> 'in_progress' then
        raise exception 'manual action % is %: nobody works on it', a.id, a.status using errcode = 'P0409';
    end if;
    update reconciler.manual_actions b set status = 'open' where b.id = a.id and b.workspace_id = a.workspace_id;
    return 'open';
end
$$;

comment on function reconciler.release_action(bigint) is 'Does what release does for one action, and returns open.';
