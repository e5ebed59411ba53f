-- Two lines for each action: that it was opened, and how it ended or what became of it since.
insert into reconciler.events (at, actor, what, workspace_id, subject, subject_id, detail)
select at, actor, what, workspace_id, 'action', n::text, detail
from public.plan
cross join lateral (
    values (opened_at, 'daemon', 'action.opened',
            jsonb_build_object('task_id', n, 'operation', operation, 'to', 'open', 'reason', failure_code,
                               'shown', jsonb_build_object('template', 'app_' || operation, 'text', repeat('Open the app. ', 30)))),
           (coalesce(closed_at, opened_at + interval '2 hours'),
            case when status = 'dismissed' then 'operator_' || n / 40 % 20 else 'daemon' end,
            'action.' || case when n / 4 % 50 = 7 and is_unfinished then 'contradicted' when is_unfinished then 'noted'
                             else status end,
            jsonb_build_object('task_id', n, 'operation', operation, 'to', status, 'done_by', 'operator_' || n / 40 % 20,
                               'done_at', opened_at + interval '1 hour'))) line (at, actor, what, detail)
order by n;
