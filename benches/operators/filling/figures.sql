-- The figures of each action, as its triggers would have kept them. Who claimed one worked on it for a minute.
insert into reconciler.action_figures
    (action_id, workspace_id, integration_id, operation, cause, requested_at, opened_at, status, closed_at, was_done,
     contradicted, stretches, worked_s, worked_by, worked_until)
select id, workspace_id, integration_id, operation, cause, requested_at, opened_at, status,
       closed_at, done_at is not null, reopened_count, stretches, 60 * stretches,
       case when stretches > 0 then assignee end, case when stretches > 0 then assigned_at + interval '1 minute' end
from reconciler.manual_actions
cross join lateral (select (status in ('done', 'verified', 'attested', 'dismissed'))::integer as stretches) worked
order by id;
