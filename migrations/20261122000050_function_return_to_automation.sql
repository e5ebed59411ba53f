-- Sends the canary and stores the others; returns the id of the return, or null if there is nothing to return.
create function reconciler.return_to_automation(p_workspace_id text, p_integration_id text, p_failure_code text,
                                                p_operation text, p_reason text)
    returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actions bigint[];
    v_task bigint;
    v_return bigint;
begin
    if btrim(coalesce(p_reason, '')) = '' then
        raise exception 'a return to automation needs a reason' using errcode = 'check_violation';
    end if;
    select array_agg(a.id) into v_actions
    from reconciler.returnable_actions(p_workspace_id, p_integration_id, p_failure_code, p_operation) a;
    if v_actions is null then
        return null;
    end if;
    update reconciler.manual_actions set status = 'returned', note = p_reason
    where id = v_actions[1] returning task_id into v_task;
    insert into reconciler.returns
        (workspace_id, integration_id, failure_code, operation, reason, canary_task_id, rest)
    values (p_workspace_id, p_integration_id, p_failure_code, p_operation, p_reason, v_task, v_actions[2:])
    returning id into v_return;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('integration.return_requested', p_workspace_id, 'integration', p_integration_id,
            jsonb_build_object('return', v_return, 'canary_task', v_task, 'actions', cardinality(v_actions),
                               'reason', p_reason));
    return v_return;
end
$$;
