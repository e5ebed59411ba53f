-- Locks an action for whoever saw it at a revision: if it has changed since, the error says what it is now.
create function reconciler.expect_action(p_action_id bigint, p_revision bigint) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    if p_revision is distinct from (select b.xmin::text::bigint from reconciler.manual_actions b
                                    where b.id = a.id and b.workspace_id = a.workspace_id) then
        raise exception 'manual action % has changed since: it is %', a.id,
                        concat(a.status, ', and ' || a.assignee || ' has worked on it since '
                                         || reconciler.moment(a.assigned_at),
                               ', and ' || a.done_by || ' marked it done at ' || reconciler.moment(a.done_at))
            using errcode = 'P0412', hint = 'Read it again.';
    end if;
end
$$;

comment on function reconciler.expect_action(bigint, bigint) is
    'Locks an action until the transaction ends, and refuses (P0412) if it has another revision than action_list had.';
