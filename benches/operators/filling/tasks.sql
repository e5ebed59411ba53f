-- The task of each action has ended. Others are unfinished, a few thousand; some of them are about a member that another one
-- is about.
insert into reconciler.automation_tasks
    (id, workspace_id, source_id, job_id, integration_id, integration_kind, integration_name, application, member_id,
     member_email, member_name, operation, entitlements, trigger, requested_at, failure_code, failure_message, state,
     received_at, ordered_at, attempts, next_attempt_at, last_error, closed_at, closed_reason)
overriding system value
select n, workspace_id, 'job-' || n || ':' || member_id, 'job-' || n, integration_id, kind, name, 'asana_tenant', member_id,
       member_email, 'Person ' || member_id, operation, '{VIEWER}', 'workspace_policy', requested_at, failure_code,
       'The page showed a message that automation does not know', 'escalated', requested_at, requested_at, 3, opened_at,
       failure_code, opened_at, 'All automatic retries were used'
from public.plan where operation <> 'reconnect' order by n;

insert into reconciler.automation_tasks
    (id, workspace_id, source_id, integration_id, integration_kind, integration_name, application, member_id, member_email,
     operation, trigger, requested_at, failure_code, received_at, ordered_at, attempts, last_error)
overriding system value
select 2 * actions + n, 'workspace-' || n % 4, 'later-' || n, 'app-' || n % 200, 'app', 'App ' || n % 200, 'asana_tenant',
       'later-' || case when n % 20 in (4, 9, 14) and n / 200 % 2 = 1 then n - 200 else n end, 'later-' || n || '@example.com', 'remove', 'workspace_policy',
       now() - interval '1 minute' * n, 'ProxyTimeout', now() - interval '1 minute' * n, now(), 1, 'ProxyTimeout'
from (select current_setting('operators.actions')::bigint as actions) s,
     generate_series(1, current_setting('operators.tasks')::bigint) n;
