-- A person gives an action to a colleague: their own, or one that nobody works on.
create function reconciler.hand_over_action(p_action_id bigint, p_assignee text, p_note text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    if a.status not in ('open', 'in_progress') then
        raise exception 'manual action % is % and cannot be handed over', a.id, a.status
            using errcode = 'P0409';
    end if;
    if btrim(coalesce(p_assignee, '')) = '' or reconciler.is_blank(p_note) then
        raise exception 'to hand over manual action %, say to whom, and why in a note', a.id
            using errcode = 'check_violation';
    end if;
    if a.status = 'in_progress' then
        perform reconciler.refuse_foreign_claim(a);
    end if;
    p_assignee := reconciler.assignee(p_assignee, a.workspace_id);
    update reconciler.manual_actions b
    set status = 'in_progress', assignee = p_assignee, assigned_at = clock_timestamp(), note = p_note
    where b.id = a.id and b.workspace_id = a.workspace_id;
    return 'in_progress';
end
$$;

comment on function reconciler.hand_over_action(bigint, text, text) is
    'Does what hand_over does for one action, and returns in_progress.';
