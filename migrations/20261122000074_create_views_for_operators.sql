-- The daily questions of operators. Their deadlines are those of the stopped clock (due_time). Lists are sorted by the
-- stored deadline, which an index has.
create view reconciler.action_list as
select a.id, a.status, a.operation, a.integration_name as app, a.member_name, a.member_email, due_at as stored_due_at,
       reconciler.due_time(a, d) as due_at, a.closed_at is null and reconciler.due_time(a, d) < now() as overdue,
       a.assignee, a.reason, a.failure_code, a.note, a.done_by, a.done_at, a.verdict, a.observed, a.reopened_count,
       case when s.paused_at is not null then 'paused' else coalesce(d.status, 'active') end as integration_status,
       a.opened_at, a.closed_at, a.workspace_id, a.integration_id, a.member_id, a.task_id
from reconciler.manual_actions a
left join reconciler.integration_settings s
       on s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
left join reconciler.integration_states d
       on d.workspace_id = a.workspace_id and d.integration_id = a.integration_id;

create view reconciler.my_work as
select id, status, due_at, overdue, operation, app, member_name, member_email, reason, failure_code, integration_status,
       note, assignee, workspace_id, integration_id, member_id
from reconciler.action_list
where closed_at is null and status <> 'done'
  and (status = 'open' or reconciler.is_same_person(assignee, reconciler.current_actor()))
order by stored_due_at, id;

create view reconciler.overdue as
select id, status, due_at, now() - due_at as late_by, operation, app, member_name, member_email, assignee, reason,
       failure_code, integration_status, workspace_id, integration_id, member_id
from reconciler.action_list
where closed_at is null and stored_due_at < now() and overdue
order by stored_due_at, id;

create view reconciler.contradicted as
select a.id, a.status, a.due_at, a.operation, a.app, a.member_name, a.member_email, a.observed,
       last.done_by as called_done_by, last.done_at as called_done_at, a.reopened_count as times, a.assignee,
       a.workspace_id, a.integration_id, a.member_id
from reconciler.action_list a
cross join lateral (
    select e.detail ->> 'done_by' as done_by, (e.detail ->> 'done_at')::timestamptz as done_at
    from reconciler.events e
    where e.subject_id = a.id::text and e.subject = 'action' and e.what = 'action.contradicted'
      and e.workspace_id = a.workspace_id
    order by e.id desc
    limit 1) last
where a.closed_at is null and a.reopened_count > 0 and a.status <> 'done'
order by a.stored_due_at, a.id;

create view reconciler.work_by_app as
select app, operation, coalesce(failure_code, reason) as cause, count(*) as actions,
       count(*) filter (where status = 'open') as unclaimed, count(*) filter (where overdue) as overdue,
       min(due_at) as next_due_at, integration_status, workspace_id, integration_id
from reconciler.action_list
where closed_at is null and status <> 'done'
group by app, operation, coalesce(failure_code, reason), integration_status, workspace_id, integration_id
order by min(due_at);

create view reconciler.held_reports as
select s.id, i.name as app, s.held_reason, s.held_until, s.report -> 'counts' as counts,
       s.started_at, s.workspace_id, s.integration_id
from reconciler.syncs s
left join reconciler.integration_settings i using (workspace_id, integration_id)
where s.state = 'held'
order by s.held_until;

create view reconciler.why_waiting as
select t.id, t.state, t.operation, t.integration_name as app, t.member_name, t.member_email, t.received_at,
       reconciler.why_waiting(t) as why, t.attempts, t.workspace_id, t.source_id, t.integration_id, t.member_id
from reconciler.task_places p
join reconciler.automation_tasks t on t.id = p.task_id and t.workspace_id = p.workspace_id;
