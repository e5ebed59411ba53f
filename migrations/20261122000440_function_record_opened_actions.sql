-- Every change of an action is recorded in the trail, and the daemon does what follows from it: the statement of a
-- person only appends and waits for nobody. The triggers run once for each statement, however many rows it changes.
-- They join by hashing also in sessions of the daemon, where hash joins are off.
create function reconciler.record_opened_actions() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'action.opened', n.workspace_id, 'action', n.id::text,
           jsonb_strip_nulls(jsonb_build_object(
               'task_id', n.task_id, 'operation', n.operation, 'to', n.status, 'reason', n.reason, 'due_at', n.due_at,
               'shown', n.shown || jsonb_build_object(
                   'sha256', encode(sha256(convert_to(n.instructions, 'UTF8')), 'hex'))))
    from new_rows n;
    return null;
end
$$;

create trigger opened_actions_are_recorded
    after insert on reconciler.manual_actions
    referencing new table as new_rows
    for each statement execute function reconciler.record_opened_actions();
