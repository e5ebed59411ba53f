-- Whether there is work: one cheap statement instead of a claim by every loop. Arrivals are searched after a task, due
-- members from a time on.
create function reconciler.work_due(p_arrived_after bigint, p_due_from timestamptz)
    returns table (arrivals boolean, nudges boolean, tasks boolean, syncs boolean, webhooks boolean)
    language plpgsql stable set search_path = pg_catalog, pg_temp as
$$
begin
    return query select
        exists (select from reconciler.arrivals a where a.task_id > p_arrived_after and a.not_before <= now()),
        exists (select from reconciler.nudges n where n.not_before <= now()),
        exists (select from (select a.workspace_id, a.integration_id from reconciler.integration_states a
                             where a.next_due_at <= now()
                             order by a.next_due_at
                             offset 0) d
                cross join lateral (
                    select from (values (true), (false)) lane (is_removal)
                    cross join lateral (
                        select from reconciler.members m
                        where m.workspace_id = d.workspace_id and m.integration_id = d.integration_id
                          and m.ready_task_id is not null and m.ready_is_removal = lane.is_removal
                          and m.next_attempt_at between p_due_from and now()
                          and (m.lease_until is null or m.lease_until <= now())
                        order by m.next_attempt_at
                        limit 1) due
                    limit 1) lane),
        exists (select from reconciler.syncs s
                where s.state in ('requested', 'started', 'report_ready', 'applying') and s.next_step_at <= now()
                  and (s.lease_until is null or s.lease_until <= now())),
        exists (select from reconciler.webhook_events e where e.ended_at is null and e.next_attempt_at <= now());
end
$$;
