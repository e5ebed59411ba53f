-- Reports are as long as that of an app with a few differences.
insert into reconciler.syncs
    (id, workspace_id, integration_id, procedure, state, causes, requested_at, started_at, report, finished_at, finished_reason)
overriding system value
select n, 'workspace-' || n % 4, 'app-' || n % 200, 'check_and_apply', 'finished', '{period}', at, at,
       jsonb_build_object('counts', jsonb_build_object('matched', 500, 'missing', 3),
                          'snapshot', jsonb_build_object('complete', true, 'members', 500, 'hash', md5(n::text)),
                          'differences', (select jsonb_agg(jsonb_build_object('email', 'user-' || d || '@example.com', 'class', 'missing'))
                                          from generate_series(1, 20) d)),
       at + interval '1 minute', 'read'
from generate_series(1, 20000) n cross join lateral (select now() - interval '5 minutes' * (20001 - n) as at) t;

-- Held for long: in the list of syncs they come last.
update reconciler.syncs
set state = 'held', finished_at = null, finished_reason = null, held_reason = 'the report removes 30 of 500 members',
    held_until = now() + interval '1 hour'
where id <= 5;

insert into reconciler.returns
    (workspace_id, integration_id, failure_code, reason, requested_by, requested_at, canary_task_id, remaining_action_ids, sent, state,
     decided_at)
select 'workspace-' || n % 4, 'app-' || n % 200, 'NotEnoughSeats', 'seats were bought', 'operator_1', now() - interval '1 hour' * n,
       n, '{}', 5, 'released', now()
from generate_series(1, 200) n;
