-- Everybody about whom something was asked. A tenth of the unfinished tasks waits behind another or behind an action, and a few
-- have just arrived.
insert into reconciler.members
    (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation, desired_entitlements,
     desired_requested_at, worked_at, open_action_id, observed_at, observed_membership)
select distinct on (workspace_id, integration_id, member_id)
       workspace_id, integration_id, member_id, member_email, n, operation, '{}'::text[], opened_at, opened_at,
       case when is_unfinished then n end, opened_at, 'member'
from public.plan where operation <> 'reconnect'
order by workspace_id, integration_id, member_id, is_unfinished desc;

insert into reconciler.members
    (workspace_id, integration_id, member_id, member_email, desired_task_id, desired_operation, desired_entitlements,
     desired_requested_at, ready_task_id, ready_is_removal, next_attempt_at, running_job_id, running_since, blocked_task_ids)
select t.workspace_id, t.integration_id, t.member_id, t.member_email, t.id, 'remove', '{}', t.requested_at, t.id, true,
       now() + interval '1 minute' * (place % 60), case when place % 20 = 3 then 'job' end, case when place % 20 = 3 then now() end,
       coalesce((select array_agg(b.id) from reconciler.automation_tasks b where b.id = t.id + 200 and b.member_id = t.member_id), '{}')
from reconciler.automation_tasks t
cross join lateral (select t.id - 2 * current_setting('operators.actions')::bigint as place) p
where place > 0 and place % 20 <> 19 and t.member_id = 'later-' || place;

insert into reconciler.arrivals (task_id, workspace_id, integration_id, member_id, is_removal, held_reason)
select id, workspace_id, integration_id, member_id, true,
       case when id % 40 = 19 then 'the row says another kind than its integration has' end
from reconciler.automation_tasks
where id > 2 * current_setting('operators.actions')::bigint and id % 20 = 19;
