-- The daily questions of operators. Their deadlines are those of the stopped clock (due_time). Lists are sorted by the
-- stored deadline, which an index has; the planner uses that index only for a condition that says that it is not null.
-- action_list has the status as the view integrations has it: a join with that view would read the state a second time.
create view reconciler.action_list as
select a.id, a.status, a.operation, a.integration_name as app, a.member_name, a.member_email, due_at as stored_due_at,
       reconciler.due_time(a, d) as due_at, a.closed_at is null and reconciler.due_time(a, d) < now() as overdue,
       a.assignee, a.reason, a.failure_code, a.note, a.done_by, a.done_at, a.verdict, a.verdict_at, a.observed,
       a.reopened_count, reconciler.integration_status(s.paused_at, d.status) as integration_status,
       a.opened_at, a.closed_at, a.workspace_id, a.integration_id, a.member_id, a.task_id, a.email_key,
       a.assignee_login, a.assignee_name, a.xmin::text::bigint as revision, a.cause
from reconciler.manual_actions a
left join reconciler.integration_settings s
       on s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
left join reconciler.integration_states d
       on d.workspace_id = a.workspace_id and d.integration_id = a.integration_id;

create view reconciler.my_work as
select id, status, due_at, overdue, operation, app, member_name, member_email, reason, failure_code, integration_status,
       note, assignee, workspace_id, integration_id, member_id
from reconciler.action_list
where closed_at is null and stored_due_at <= 'infinity' and status <> 'done'
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

-- Only where the clock of an integration has stopped, its actions are read one by one, each cause by itself: a join with all
-- stopped ones took seconds while the planner had no statistics yet of a table that had just filled. Opened_at is never null: only with a
-- condition that says so the planner reads the index that has these columns, and nothing else.
create view reconciler.work_by_app as
with causes as (
    select workspace_id, integration_id, operation, cause, count(*) as actions,
           count(*) filter (where status = 'open') as unclaimed, count(*) filter (where due_at < now()) as overdue,
           min(due_at) as next_due_at
    from reconciler.manual_actions
    where closed_at is null and opened_at <= 'infinity' and status <> 'done'
    group by workspace_id, integration_id, operation, cause
)
select i.name as app, c.operation, c.cause, c.actions, c.unclaimed,
       case when s.next_due_at is null then c.overdue else s.overdue end as overdue,
       coalesce(s.next_due_at, c.next_due_at) as next_due_at,
       reconciler.integration_status(i.paused_at, d.status) as integration_status, c.workspace_id, c.integration_id
from causes c
left join reconciler.integration_settings i on i.workspace_id = c.workspace_id and i.integration_id = c.integration_id
left join reconciler.integration_states d on d.workspace_id = c.workspace_id and d.integration_id = c.integration_id
cross join lateral (
    select count(*) filter (where l.overdue) as overdue, min(l.due_at) as next_due_at
    from reconciler.action_list l
    where d.inactive_since is not null and l.workspace_id = c.workspace_id and l.integration_id = c.integration_id
      and l.operation = c.operation and l.cause = c.cause and l.closed_at is null and l.opened_at <= 'infinity'
      and l.status <> 'done') s
order by next_due_at;

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

comment on view reconciler.action_list is
    'Every manual action in one row, with its deadline and the status of its integration.';

comment on column reconciler.action_list.id is 'Id of the manual action.';

comment on column reconciler.action_list.status is
    'open, in_progress or done while unfinished; verified, attested, not_needed, dismissed, superseded or returned '
    'once ended.';

comment on column reconciler.action_list.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.action_list.app is 'Display name of the integration.';

comment on column reconciler.action_list.member_name is
    'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.action_list.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.action_list.stored_due_at is
    'The stored deadline. Sort by this column: it has an index, and due_at has none.';

comment on column reconciler.action_list.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.action_list.overdue is
    'Whether the action is unfinished and due_at has passed; also true for an action that is marked done.';

comment on column reconciler.action_list.assignee is
    'Who works or last worked on the action; null if nobody claimed it.';

comment on column reconciler.action_list.reason is 'Why a person is needed, as a sentence.';

comment on column reconciler.action_list.failure_code is
    'Code of the failure that led to the action; null if there is none.';

comment on column reconciler.action_list.note is 'The latest note of a person or the daemon; null if there is none.';

comment on column reconciler.action_list.done_by is
    'Who marked the action done; null if nobody did, and after a withdrawal or a verdict of contradicted.';

comment on column reconciler.action_list.done_at is 'When the action was marked done; null if done_by is null.';

comment on column reconciler.action_list.verdict is
    'Latest verdict: confirmed, not_yet, contradicted or unverifiable; null if there is none.';

comment on column reconciler.action_list.verdict_at is 'When the latest verdict was given; null if there is none.';

comment on column reconciler.action_list.observed is
    'What the latest verdict rests on, or which task replaced the action, as a sentence; null if there is neither.';

comment on column reconciler.action_list.reopened_count is
    'How often a verdict of contradicted opened the action again.';

comment on column reconciler.action_list.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.action_list.opened_at is 'When the action was opened.';

comment on column reconciler.action_list.closed_at is 'When the action ended; null while it is unfinished.';

comment on column reconciler.action_list.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.action_list.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.action_list.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on column reconciler.action_list.task_id is 'Id of the automation task that the action replaces.';

comment on view reconciler.my_work is
    'The open and in_progress actions that are assigned to the present person or to nobody, the earliest stored '
    'deadline first.';

comment on column reconciler.action_list.cause is 'The failure code, or the reason of actions that have none.';

comment on column reconciler.action_list.email_key is 'member_email in small letters, for searches.';

comment on column reconciler.action_list.assignee_login is 'The login of the assignee, or token:NAME; null without an assignee.';

comment on column reconciler.action_list.assignee_name is
    'The name that the assignee gave beside the login; null if there is none.';

comment on column reconciler.action_list.revision is
    'Changes with every change of the action: the transaction that wrote it last.';

comment on column reconciler.my_work.id is 'Id of the manual action.';

comment on column reconciler.my_work.status is 'open or in_progress.';

comment on column reconciler.my_work.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.my_work.overdue is 'Whether due_at has passed.';

comment on column reconciler.my_work.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.my_work.app is 'Display name of the integration.';

comment on column reconciler.my_work.member_name is 'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.my_work.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.my_work.reason is 'Why a person is needed, as a sentence.';

comment on column reconciler.my_work.failure_code is
    'Code of the failure that led to the action; null if there is none.';

comment on column reconciler.my_work.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.my_work.note is 'The latest note of a person or the daemon; null if there is none.';

comment on column reconciler.my_work.assignee is
    'The present person, the last person who worked on an open action, or null if nobody claimed it.';

comment on column reconciler.my_work.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.my_work.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.my_work.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on view reconciler.overdue is
    'The open and in_progress actions whose deadline has passed, the earliest stored deadline first.';

comment on column reconciler.overdue.id is 'Id of the manual action.';

comment on column reconciler.overdue.status is 'open or in_progress.';

comment on column reconciler.overdue.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.overdue.late_by is 'How long ago due_at passed.';

comment on column reconciler.overdue.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.overdue.app is 'Display name of the integration.';

comment on column reconciler.overdue.member_name is 'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.overdue.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.overdue.assignee is 'Who works or last worked on the action; null if nobody claimed it.';

comment on column reconciler.overdue.reason is 'Why a person is needed, as a sentence.';

comment on column reconciler.overdue.failure_code is
    'Code of the failure that led to the action; null if there is none.';

comment on column reconciler.overdue.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.overdue.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.overdue.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.overdue.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on view reconciler.contradicted is
    'The open and in_progress actions that somebody marked done and a snapshot contradicted, the earliest stored '
    'deadline first.';

comment on column reconciler.contradicted.id is 'Id of the manual action.';

comment on column reconciler.contradicted.status is 'open or in_progress.';

comment on column reconciler.contradicted.due_at is
    'Deadline, including the time for which the integration has not been active.';

comment on column reconciler.contradicted.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.contradicted.app is 'Display name of the integration.';

comment on column reconciler.contradicted.member_name is
    'The person''s name; null if it is not known, and for reconnect.';

comment on column reconciler.contradicted.member_email is 'Email address of the member; empty for reconnect.';

comment on column reconciler.contradicted.observed is 'What the latest verdict rests on, as a sentence.';

comment on column reconciler.contradicted.called_done_by is 'Who made the latest statement that was contradicted.';

comment on column reconciler.contradicted.called_done_at is 'When that statement was made.';

comment on column reconciler.contradicted.times is 'How often a verdict of contradicted opened the action again.';

comment on column reconciler.contradicted.assignee is
    'Who works or last worked on the action; null if nobody claimed it.';

comment on column reconciler.contradicted.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.contradicted.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.contradicted.member_id is 'Cerby''s user id of the member; empty for reconnect.';

comment on view reconciler.work_by_app is
    'The open and in_progress actions, counted by integration, operation and cause, the earliest deadline first.';

comment on column reconciler.work_by_app.app is 'Display name of the integration.';

comment on column reconciler.work_by_app.operation is 'invite, remove, change_role or reconnect.';

comment on column reconciler.work_by_app.cause is
    'The failure code of the actions, or their reason if they have no code.';

comment on column reconciler.work_by_app.actions is 'Number of these actions.';

comment on column reconciler.work_by_app.unclaimed is 'How many of them are open: nobody works on them.';

comment on column reconciler.work_by_app.overdue is 'How many of them are past their deadline.';

comment on column reconciler.work_by_app.next_due_at is 'The earliest deadline of them; it may have passed.';

comment on column reconciler.work_by_app.integration_status is
    'Status of the integration now: active, probing, tripped, paused or login_rejected. Deadlines are extended while '
    'it is not active.';

comment on column reconciler.work_by_app.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.work_by_app.integration_id is 'Cerby''s id of the integration.';

comment on view reconciler.held_reports is
    'Syncs whose report waits for a person, the earliest held_until first. Decide with approve or reject.';

comment on column reconciler.held_reports.id is 'Id of the sync, which approve and reject take.';

comment on column reconciler.held_reports.app is 'Display name of the integration.';

comment on column reconciler.held_reports.held_reason is 'Why the report is held, as a sentence.';

comment on column reconciler.held_reports.held_until is
    'Until when a person can decide. After that the sync ends and the app is read again.';

comment on column reconciler.held_reports.counts is
    'Number of people in each class of the report, as a JSON object: missing, unexpected, matched and others.';

comment on column reconciler.held_reports.started_at is 'When the snapshot started.';

comment on column reconciler.held_reports.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.held_reports.integration_id is 'Cerby''s id of the integration.';

comment on view reconciler.why_waiting is 'Every unfinished automation task, with the reason why it waits.';

comment on column reconciler.why_waiting.id is 'Id of the automation task, which cancel_task takes.';

comment on column reconciler.why_waiting.state is 'pending or running.';

comment on column reconciler.why_waiting.operation is 'invite, remove or change_role.';

comment on column reconciler.why_waiting.app is 'Display name of the integration, as the task gives it.';

comment on column reconciler.why_waiting.member_name is 'The person''s name; null if the backend gives none.';

comment on column reconciler.why_waiting.member_email is 'Email address of the member.';

comment on column reconciler.why_waiting.received_at is 'When the row was inserted.';

comment on column reconciler.why_waiting.why is
    'Why the task waits, until when, and who can change that, in sentences.';

comment on column reconciler.why_waiting.attempts is 'Number of attempts that the daemon requested from the backend.';

comment on column reconciler.why_waiting.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.why_waiting.source_id is
    'Identifies one run of a job and member, or one deprovisioning event.';

comment on column reconciler.why_waiting.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.why_waiting.member_id is 'Cerby''s user id of the member.';
