-- The same rows in every table, for one's own workspace and a foreign one. What is foreign is marked as secret.
set session_replication_role = replica;
create temp table workspace (id text, n int, word text);
insert into workspace values ('acme', 1, 'own'), ('globex', 2, 'secret');
insert into reconciler.integration_settings (workspace_id, integration_id, name, kind, application, four_eyes)
select id, 'an-app', word || ' app', 'app', 'asana_tenant', true from workspace;
insert into reconciler.integration_states (workspace_id, integration_id) select id, 'an-app' from workspace;
insert into reconciler.automation_tasks
    (id, workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id,
     member_email, operation, trigger, requested_at, ordered_at)
overriding system value
select n, id, 's-' || n, 'an-app', 'app', word || ' app', 'asana_tenant', word, word || '@example.com', 'remove',
       'manual', now(), now() from workspace;
insert into reconciler.arrivals (task_id, workspace_id, integration_id, member_id, is_removal, held_reason)
select n, id, 'an-app', word, true, word from workspace;
insert into reconciler.members (workspace_id, integration_id, member_id, member_email, ready_task_id, next_attempt_at)
select id, 'an-app', word, word || '@example.com', n, now() from workspace;
insert into reconciler.manual_actions
    (id, status, operation, workspace_id, integration_id, integration_name, integration_kind, application, member_id,
     member_email, trigger, requested_at, requested_by, reason, instructions, due_at, reopened_count, task_id, shown, screen_changed_at,
     screen_changed_by, screen_changed_note)
overriding system value
select n, 'open', 'remove', id, 'an-app', word || ' app', 'app', 'asana_tenant', word, word || '@example.com',
       'manual', now(), word, word, word, now() - interval '1 day', 1, n,
       jsonb_build_object('template', word || '.txt', 'source', 'folder', 'hash', 'sha256:' || word), now(), 'kim', word
from workspace;
insert into reconciler.action_figures
    (action_id, workspace_id, integration_id, operation, cause, requested_at, opened_at, status)
select n, id, 'an-app', 'remove', word, now(), now(), 'open' from workspace;
insert into reconciler.saved_views (id, owner, name, page, query, shared_in)
overriding system value
select n, 'token:operator', word || ' view', 'actions', 'cause=' || word, id from workspace where n = 1
union all
select n, 'token:somebody', word || ' view', 'actions', 'cause=' || word, id from workspace where n = 2;
select setval(pg_get_serial_sequence('reconciler.saved_views', 'id'), 10);
insert into reconciler.syncs
    (id, workspace_id, integration_id, procedure, state, started_at, held_reason, held_until)
overriding system value
select n, id, 'an-app', 'check_and_apply', 'held', now(), word, now() + interval '1 day' from workspace;
insert into reconciler.returns
    (id, workspace_id, integration_id, reason, canary_task_id, remaining_action_ids)
overriding system value
select n, id, 'an-app', word, n, '{}' from workspace;
insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
select 'action.contradicted', id, 'action', n::text, jsonb_build_object('done_by', word) from workspace;
insert into reconciler.nudges (workspace_id, integration_id, what) select id, 'an-app', 'snapshot' from workspace;
insert into reconciler.outages (workspace_id, integration_id, replica, held_until)
select id, 'an-app', 1, now() from workspace;
insert into reconciler.webhook_events (workspace_id, event_id, event_type, job_id, occurred_at, problem, next_attempt_at)
select id, 'event-' || n, 'automation.failed', 'job-' || n, now(), word, now() + interval '1 day' from workspace;
drop table workspace;
set session_replication_role = origin;
