-- A person cancels a task. The statement only appends and locks nothing: the daemon ends the task, and a task in flight
-- ends once nothing of it can still take effect.
create function reconciler.request_cancellation(p_task_id bigint, p_reason text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    t reconciler.automation_tasks;
begin
    if reconciler.is_blank(p_reason) or char_length(p_reason) > 2000 then
        raise exception 'to cancel a task, give a reason of 1 to 2000 characters'
            using errcode = 'check_violation',
                  hint = format('select * from reconciler.cancel_task(%s, ''...'')', p_task_id);
    end if;
    select * into t from reconciler.automation_tasks a where a.id = p_task_id;
    if not found then
        raise exception 'there is no task %', p_task_id using errcode = 'no_data_found';
    end if;
    if t.closed_at is not null then
        raise exception 'task % has ended as % and cannot be cancelled', t.id, t.state
            using errcode = 'P0409',
                  hint = case when t.state = 'escalated'
                              then 'A person was asked: dismiss its manual action, with a note.'
                              else 'Nothing is tried for it any more.' end;
    end if;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('task.cancel_requested', t.workspace_id, 'task', t.id::text, jsonb_build_object('reason', p_reason));
    insert into reconciler.nudges (workspace_id, integration_id, what, task_id, reason)
    values (t.workspace_id, t.integration_id, 'cancelled', t.id, p_reason);
    perform pg_notify('reconciler', 'nudges');
    return 'cancellation requested';
end
$$;

comment on function reconciler.request_cancellation(bigint, text) is
    'Does what cancel_task does for one task, and returns cancellation requested.';
