-- A person claims an action: an open one, or, with a reason, one that a colleague works on.
create function reconciler.claim_action(p_action_id bigint, p_take_over_note text default null) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actor text := reconciler.current_actor();
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    if a.status not in ('open', 'in_progress') then
        raise exception 'manual action % is % and cannot be claimed', a.id, a.status using errcode = 'P0409';
    end if;
    if a.status = 'in_progress' and not reconciler.is_blank(p_take_over_note)
       and not reconciler.is_same_person(a.assignee, v_actor) then
        update reconciler.manual_actions b
        set assignee = v_actor, assigned_at = clock_timestamp(), note = p_take_over_note
        where b.id = a.id and b.workspace_id = a.workspace_id;
    elsif not reconciler.is_blank(p_take_over_note) then
        update reconciler.manual_actions b set status = 'in_progress', note = p_take_over_note
        where b.id = a.id and b.workspace_id = a.workspace_id;
    else
        update reconciler.manual_actions b set status = 'in_progress'
        where b.id = a.id and b.workspace_id = a.workspace_id;
    end if;
    return 'in_progress';
end
$$;

comment on function reconciler.claim_action(bigint, text) is
    'Does what claim does for one action, and returns in_progress.';
