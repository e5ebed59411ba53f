-- A person gives back an action that they work on.
create function reconciler.release_action(p_action_id bigint) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions;
begin
    select * into a from reconciler.manual_actions b where b.id = p_action_id for no key update;
    if not found then
        raise exception 'there is no manual action %', p_action_id using errcode = 'no_data_found';
    end if;
    if a.status <> 'in_progress' then
        raise exception 'manual action % is %: nobody works on it', a.id, a.status using errcode = 'P0409';
    end if;
    update reconciler.manual_actions b set status = 'open' where b.id = a.id and b.workspace_id = a.workspace_id;
    return 'open';
end
$$;

comment on function reconciler.release_action(bigint) is 'Does what release does for one action, and returns open.';
