create function reconciler.record_action_changes() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set enable_hashjoin = on set plan_cache_mode = auto as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'action.' || case when n.reopened_count > o.reopened_count then 'contradicted'
                             when o.status = 'done' and n.status in ('open', 'in_progress') then 'withdrawn'
                             when n.status = 'in_progress' and n.assigned_at is distinct from o.assigned_at
                                 then case when reconciler.is_same_person(n.assignee, reconciler.current_actor()) then 'claimed'
                                           else 'handed_over' end
                             when o.status = 'in_progress' and n.status = 'open' then 'released'
                             when o.status <> n.status then n.status
                             when n.confirmed_at is distinct from o.confirmed_at then 'confirmed'
                             when o.snapshots <> n.snapshots then 'judged'
                             when n.screen_changed_at is distinct from o.screen_changed_at then 'screen_changed'
                             when o.due_at <> n.due_at then 'deadline_extended'
                             when n.reminded_at is distinct from o.reminded_at then 'overdue'
                             else 'noted' end,
           n.workspace_id, 'action', n.id::text,
           jsonb_strip_nulls(jsonb_build_object(
               'task_id', n.task_id, 'operation', n.operation, 'from', o.status, 'to', n.status,
               'assignee', n.assignee,
               'assignee_before', nullif(o.assignee, n.assignee), 'note', n.note,
               'done_by', case when n.closed_at is null then coalesce(n.done_by, o.done_by) else n.done_by end,
               'done_at', case when n.closed_at is null then coalesce(n.done_at, o.done_at) else n.done_at end,
               'confirmed_by', n.confirmed_by,
               'instructions', case when n.screen_changed_at is distinct from o.screen_changed_at
                                    then n.shown ->> 'template' end,
               'instructions_hash', case when n.screen_changed_at is distinct from o.screen_changed_at
                                         then n.instructions_hash end,
               'reason', case when n.screen_changed_at is distinct from o.screen_changed_at
                              then n.screen_changed_note end,
               'verdict', n.verdict, 'observed', case when n.verdict is not null then n.observed end,
               'sync_id', case when n.verdict is not null then n.sync_id end,
               'snapshot_hash', case when n.verdict is not null then n.snapshot_hash end,
               'snapshot_started_at', case when n.verdict is not null then n.snapshot_started_at end,
               'due_at', case when n.due_at <> o.due_at or n.reminded_at is distinct from o.reminded_at then n.due_at end,
               'due_before', nullif(o.due_at, n.due_at)))
    from new_rows n join old_rows o using (id, workspace_id)
    where o.status <> n.status or o.assignee is distinct from n.assignee or o.note_at is distinct from n.note_at
       or o.verdict is distinct from n.verdict or o.snapshots <> n.snapshots
       or o.confirmed_at is distinct from n.confirmed_at
       or n.screen_changed_at is distinct from o.screen_changed_at
       or o.due_at <> n.due_at or o.reminded_at is distinct from n.reminded_at;
    insert into reconciler.nudges (workspace_id, integration_id, what, action_id)
    select n.workspace_id, n.integration_id,
           case when n.screen_changed_at is distinct from o.screen_changed_at then 'screen_changed'
                when n.closed_at is null then 'done'
                else 'ended' end, n.id
    from new_rows n join old_rows o using (id, workspace_id)
    where o.status <> n.status and (n.status = 'done' or n.closed_at is not null)
       or o.confirmed_at is null and n.confirmed_at is not null
       or n.screen_changed_at is distinct from o.screen_changed_at;
    if found then
        perform pg_notify('reconciler', 'nudges');
    end if;
    return null;
end
$$;

create trigger action_changes_are_recorded
    after update on reconciler.manual_actions
    referencing old table as old_rows new table as new_rows
    for each statement execute function reconciler.record_action_changes();
