-- Keeps the figures of actions. The time from a claim until the action was done would count twice for who claims forty
-- actions and works through them, so a stretch begins when the same person stopped to work on another action. Whoever marks
-- several done in one statement worked on them together. Whoever claims in the evening and works in the morning would count
-- for the night: a stretch counts an hour at most.
create function reconciler.record_action_figures() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set enable_hashjoin = on set plan_cache_mode = auto as
$$
declare
    c_longest constant interval := '1 hour';
    v_now constant timestamptz := clock_timestamp();
begin
    if tg_op = 'INSERT' then
        insert into reconciler.action_figures
            (action_id, workspace_id, integration_id, operation, cause, requested_at, opened_at, status, closed_at)
        select n.id, n.workspace_id, n.integration_id, n.operation, n.cause, n.requested_at,
               n.opened_at, n.status, n.closed_at
        from new_rows n;
        return null;
    end if;
    with changes as (
        select n.id, n.workspace_id, n.status, n.closed_at, o.assigned_at as claimed_at,
               n.reopened_count - o.reopened_count as contradicted,
               case when o.status = 'in_progress' then o.assignee end as worker,
               o.status = 'in_progress' and n.status = 'in_progress' and n.assignee is distinct from o.assignee as passed_on
        from new_rows n join old_rows o using (id, workspace_id)
        where n.status <> o.status or n.assigned_at is distinct from o.assigned_at
    ), stretches as (
        select c.id, c.workspace_id,
               extract(epoch from least(v_now - greatest(c.claimed_at, before.worked_until), c_longest))
                   / count(*) over (partition by c.worker) as seconds
        from changes c
        cross join lateral (
            select max(f.worked_until) as worked_until from reconciler.action_figures f where f.worked_by = c.worker) before
        where c.worker is not null
    )
    update reconciler.action_figures f
    set status = c.status, closed_at = c.closed_at, was_done = f.was_done or c.status = 'done',
        contradicted = f.contradicted + c.contradicted, changed_hands = f.changed_hands + c.passed_on::integer,
        stretches = f.stretches + (c.worker is not null)::integer,
        worked_s = f.worked_s + coalesce(round(s.seconds), 0)::integer,
        worked_by = coalesce(c.worker, f.worked_by),
        worked_until = case when c.worker is null then f.worked_until else v_now end
    from changes c
    left join stretches s using (id, workspace_id)
    where f.action_id = c.id and f.workspace_id = c.workspace_id;
    return null;
end
$$;

create trigger figures_of_opened_actions_are_recorded
    after insert on reconciler.manual_actions
    referencing new table as new_rows
    for each statement execute function reconciler.record_action_figures();

create trigger figures_of_actions_are_recorded
    after update on reconciler.manual_actions
    referencing old table as old_rows new table as new_rows
    for each statement execute function reconciler.record_action_figures();
