-- A person withdraws their statement that an action is done, until it is judged.
create function reconciler.withdraw_action(p_action_id bigint) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    if a.status in ('open', 'in_progress') then
        raise exception 'manual action % is %: nobody has marked it done', a.id, a.status using errcode = 'P0409';
    end if;
    update reconciler.manual_actions b set status = 'open' where b.id = a.id and b.workspace_id = a.workspace_id;
    return 'open';
end
$$;

comment on function reconciler.withdraw_action(bigint) is 'Does what withdraw does for one action, and returns open.';
