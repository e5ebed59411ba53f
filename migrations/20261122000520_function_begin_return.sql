-- Sends the first of these actions to automation as the canary, and stores the others. Returns the id of the return.
create function reconciler.begin_return(p_workspace_id text, p_integration_id text, p_failure_code text,
                                        p_operation text, p_actions bigint[], p_reason text)
    returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_task bigint;
    v_return bigint;
begin
    update reconciler.manual_actions set status = 'returned', note = p_reason
    where id = p_actions[1] and status = 'open' returning task_id into v_task;
    -- Somebody was quicker with the first one while this waited for them.
    if not found then
        raise exception 'manual action % has changed since: it is not open', p_actions[1]
            using errcode = 'P0412', hint = 'Look at the actions again.';
    end if;
    insert into reconciler.returns
        (workspace_id, integration_id, failure_code, operation, reason, canary_task_id, remaining_action_ids)
    values (p_workspace_id, p_integration_id, p_failure_code, p_operation, p_reason, v_task, p_actions[2:])
    returning id into v_return;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('integration.return_requested', p_workspace_id, 'integration', p_integration_id,
            jsonb_build_object('return', v_return, 'canary_task', v_task, 'actions', cardinality(p_actions),
                               'reason', p_reason));
    return v_return;
end
$$;
