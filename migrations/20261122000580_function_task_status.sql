-- What became of a row, for the backend that inserted it: no row if it is not there. The manual action is the latest one
-- of the task. It names nobody.
create function reconciler.task_status(p_workspace_id text, p_source_id text)
    returns table (task_id bigint, state text, reason text, attempts integer, next_attempt_at timestamptz,
                   closed_at timestamptz, superseded_by bigint, action_id bigint, action_status text,
                   action_due_at timestamptz, verdict text, observed text)
    language sql stable security definer set search_path = pg_catalog, pg_temp as
$$
    select t.id, t.state, coalesce(t.closed_reason, reconciler.why_waiting(t)), t.attempts,
           case when t.closed_at is null then t.next_attempt_at end, t.closed_at, t.superseded_by, a.id, a.status,
           case when a.closed_at is null then reconciler.due_time(a, d) end, a.verdict, a.observed
    from reconciler.automation_tasks t
    left join reconciler.integration_states d using (workspace_id, integration_id)
    left join lateral (select * from reconciler.manual_actions a
                       where a.task_id = t.id and a.workspace_id = t.workspace_id
                       order by a.id desc limit 1) a on true
    where t.workspace_id = p_workspace_id and t.source_id = p_source_id
$$;

comment on function reconciler.task_status(text, text) is
    'Returns what became of the task with this workspace_id and source_id: its state, why it waits or ended, and its '
    'latest manual action. Returns no row if there is no such task; refuses nothing. '
    'Example: select * from reconciler.task_status(''acme'', ''job-1:u-7'');';
