-- The action that a person is about to change, locked.
create function reconciler.lock_action(p_action_id bigint) returns reconciler.manual_actions
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions;
begin
    select * into a from reconciler.manual_actions b where b.id = p_action_id for no key update;
    if not found then
        raise exception 'there is no manual action %', p_action_id using errcode = 'no_data_found';
    end if;
    return a;
end
$$;
