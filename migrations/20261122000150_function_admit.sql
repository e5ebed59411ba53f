-- The integrations of which not every due task may start at once, with the number that may. The function locks the
-- daemon's rows of them until the caller's statement ends, and skips rows that another replica has locked. So limits
-- hold for all replicas together, and no replica waits for another. Each statement here has a fresh snapshot, so it
-- counts the tasks that other replicas took before.
create function reconciler.admit(p_limit integer, p_max_in_flight integer, p_starts_per_minute integer,
                                 p_resting text[])
    returns table (workspace_id text, integration_id text, takes integer, is_probe boolean, in_flight bigint[])
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
#variable_conflict use_column
declare
    d record;
    v_every interval;
    v_now timestamptz := clock_timestamp();
begin
    for d in
        select b.*, coalesce((s.of).max_in_flight, p_max_in_flight) as most,
               coalesce((s.of).starts_per_minute, p_starts_per_minute) as rate
        from (select a.ctid as place, a.workspace_id, a.integration_id
              from reconciler.integration_states a
              where a.next_due_at <= clock_timestamp()
              order by a.next_due_at
              offset 0) a
        cross join lateral (
            select s as of from reconciler.integration_settings s
            where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id and s.paused_at is null
            offset 0
        ) s
        cross join lateral (
            select * from reconciler.integration_states b
            where b.ctid = a.place
              and (b.status in ('tripped', 'probing') and b.status_until <= clock_timestamp()
                   or b.status = 'active' and reconciler.is_limited(s.of, b, p_max_in_flight, p_starts_per_minute))
            for no key update skip locked
            offset 0
        ) b
        where a.workspace_id <> all (p_resting) and a.workspace_id || '/' || a.integration_id <> all (p_resting)
        order by random()
    loop
        workspace_id := d.workspace_id;
        integration_id := d.integration_id;
        is_probe := d.status is distinct from 'active';
        select coalesce(array_agg(u.id), '{}') into in_flight
        from unnest(d.admitted_task_ids) u (id)
        cross join lateral (
            select t.member_id from reconciler.automation_tasks t
            where t.id = u.id and t.workspace_id = d.workspace_id
            offset 0
        ) t
        cross join lateral (
            select from reconciler.members m
            where m.workspace_id = d.workspace_id and m.integration_id = d.integration_id and m.member_id = t.member_id
              and m.ready_task_id = u.id and m.running_job_id is null and m.lease_until > clock_timestamp()
            offset 0
        ) held;
        if is_probe then
            takes := 1;
        else
            takes := p_limit;
            if d.ramp_limit is not null or d.most is not null then
                -- Jobs from before the recovery tell nothing about the app now, so the ramp does not wait for them.
                select least(takes, d.most - cardinality(in_flight) - count(*)::integer,
                             d.ramp_limit - cardinality(in_flight)
                             - (count(*) filter (where m.running_since >= d.status_since))::integer) into takes
                from reconciler.members m
                where m.workspace_id = d.workspace_id and m.integration_id = d.integration_id
                  and m.ready_task_id is not null and m.running_job_id is not null;
            end if;
            if d.rate is not null then
                -- As many as fit into one second may start at once.
                v_every := interval '1 minute' / d.rate;
                takes := least(takes, floor(extract(epoch from
                    v_now + v_every * ceil(d.rate / 60.0) - greatest(d.next_start_at, v_now))
                    / extract(epoch from v_every))::integer);
            end if;
        end if;
        if takes > 0 then
            return next;
        end if;
    end loop;
end
$$;
