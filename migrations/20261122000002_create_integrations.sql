create table reconciler.integrations (
    workspace_id           text collate "C" not null,
    integration_id         text collate "C" not null,
    name                   text        not null,
    kind                   text        not null,
    application            text        not null,
    status                 text        not null default 'active',
    status_reason          text,
    status_until           timestamptz,
    -- Set by people: how much of the app's automation may run at a time, for all replicas together.
    max_in_flight          integer,
    starts_per_minute      integer,
    -- Set by people: whom no report may remove unasked, and how often the app is read without a reason.
    own_account            text,
    administrator_roles    text[],
    snapshot_every_s       integer,

    -- The daemon's side of the circuit breaker.
    status_cause           text,
    status_since           timestamptz,
    inactive_since         timestamptz,
    inactive_until         timestamptz,
    consecutive_failures   integer     not null default 0,
    consecutive_trips      integer     not null default 0,
    ramp_limit             integer,
    probe_task_id          bigint,
    status_reminded_at     timestamptz,
    admitted_task_ids      bigint[]    not null default '{}',
    next_start_at          timestamptz not null default '-infinity',
    next_snapshot_at       timestamptz,
    unverifiable_snapshots integer     not null default 0,
    primary key (workspace_id, integration_id),
    constraint kind_is_app_or_business_hub check (kind in ('app', 'business_hub')),
    constraint status_is_known
        check (status in ('active', 'probing', 'tripped', 'paused', 'login_rejected')),
    constraint status_cause_is_failures_or_rate_limit check (status_cause in ('failures', 'rate_limit')),
    constraint max_in_flight_is_at_least_1 check (max_in_flight >= 1),
    constraint starts_per_minute_is_at_least_1 check (starts_per_minute >= 1),
    constraint own_account_is_not_empty_nor_padded check (own_account = btrim(own_account) and own_account <> ''),
    constraint snapshot_every_s_is_0_or_at_least_60 check (snapshot_every_s = 0 or snapshot_every_s >= 60),
    constraint tripped_integrations_say_why_and_how_long
        check (status not in ('tripped', 'probing') or (status_cause is not null and status_until is not null)),
    constraint inactive_integrations_say_why check (status = 'active' or status_reason is not null)
) with (fillfactor = 30);

comment on table reconciler.integrations is
    'The connections to external apps that tasks were seen for, and whether tasks are admitted for them.';
comment on column reconciler.integrations.status is
    'active; tripped: attempts fail or the rate is limited, until status_until; probing: one task is tried; '
    'paused: by a person; login_rejected: the app rejects the stored login, a manual action asks to fix it.';
comment on column reconciler.integrations.max_in_flight is 'Tasks in flight at a time, all replicas together; null for the configured number.';
comment on column reconciler.integrations.starts_per_minute is 'Tasks taken up per minute, all replicas together; null for the configured number.';
comment on column reconciler.integrations.own_account is
    'Email, name in the app or id of the account that the automation logs in with: no report removes it without a person.';
comment on column reconciler.integrations.administrator_roles is
    'Ids of roles that make an administrator; null for the configured ones.';
comment on column reconciler.integrations.snapshot_every_s is
    'Seconds between snapshots that nothing else asked for; 0 for never, null for the configured number.';
comment on column reconciler.integrations.unverifiable_snapshots is
    'Snapshots in a row that failed or were incomplete.';
comment on column reconciler.integrations.ramp_limit is
    'After a recovery: tasks in flight at a time; each success raises it by one, until it is lifted at breaker.ramp_end.';
comment on column reconciler.integrations.probe_task_id is 'The one task that is tried while the integration is probing.';
comment on column reconciler.integrations.inactive_until is
    'When the integration became active again; set until deadlines have been put off by the time it was inactive.';
comment on column reconciler.integrations.admitted_task_ids is
    'Tasks that were admitted while their number is limited; those no longer in flight are dropped from it.';

-- People pause and resume; the daemon sets every other status.
create function reconciler.guard_status() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if not reconciler.is_daemon() then
        if new.status not in ('active', 'paused') then
            raise exception 'the status of integration % can be set to active or paused, not to %', old.integration_id, new.status
                using errcode = 'check_violation';
        end if;
        if new.status = 'paused' and (btrim(coalesce(new.status_reason, '')) = ''
                                    or old.status <> 'paused' and new.status_reason is not distinct from old.status_reason) then
            raise exception 'pausing integration % needs a status_reason', old.integration_id
                using errcode = 'check_violation';
        end if;
    end if;
    if new.status is distinct from old.status then
        new.status_since := clock_timestamp();
        new.consecutive_failures := 0;
        new.status_reminded_at := case when new.status <> 'active' then old.status_reminded_at end;
        new.inactive_since := coalesce(old.inactive_since, clock_timestamp());
        new.inactive_until := case when new.status = 'active' then clock_timestamp() end;
    end if;
    if new.status in ('active', 'paused', 'login_rejected') then
        new.status_until := null;
        new.status_cause := null;
        new.probe_task_id := null;
    end if;
    if new.status = 'active' then
        new.status_reason := null;
        -- One first, then more and more: what waited meanwhile must not stampede.
        if old.status <> 'active' then
            new.ramp_limit := 1;
        end if;
    end if;
    return new;
end
$$;

create trigger status_changes_are_guarded
    before update of status on reconciler.integrations
    for each row execute function reconciler.guard_status();

-- Whether an active integration admits only so many tasks; a parameter stands where the row does not say.
create function reconciler.is_limited(i reconciler.integrations, p_max_in_flight integer, p_starts_per_minute integer)
    returns boolean
    language sql immutable as
$$
    select i.ramp_limit is not null
           or coalesce(i.max_in_flight, p_max_in_flight) is not null
           or coalesce(i.starts_per_minute, p_starts_per_minute) is not null
$$;

-- The integrations of which not every due task may be taken up at once, with how many may. Locks their rows until
-- the caller's statement ends, and skips those that another replica has locked: limits hold for all replicas together,
-- and nobody waits for anybody. Each statement here has a fresh snapshot, so it counts what others took before.
create function reconciler.admit(p_limit integer, p_max_in_flight integer, p_starts_per_minute integer,
                                 p_silent_workspaces text[])
    returns table (workspace_id text, integration_id text, takes integer, is_probe boolean, in_flight bigint[])
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
#variable_conflict use_column
declare
    i reconciler.integrations;
    v_most integer;
    v_rate integer;
    v_every interval;
    v_now timestamptz := clock_timestamp();
begin
    for i in
        select g.* from reconciler.integrations g
        where (g.status in ('tripped', 'probing') and g.status_until <= clock_timestamp()
               or g.status = 'active' and reconciler.is_limited(g, p_max_in_flight, p_starts_per_minute))
          and g.workspace_id <> all (p_silent_workspaces)
        order by random()
        for no key update skip locked
    loop
        -- For the trail of the caller's statement, which writes the status.
        perform set_config('reconciler.actor', 'daemon', true);
        workspace_id := i.workspace_id;
        integration_id := i.integration_id;
        is_probe := i.status <> 'active';
        select coalesce(array_agg(u.id), '{}') into in_flight
        from unnest(i.admitted_task_ids) u (id)
        cross join lateral (select from reconciler.turns t
                            where t.task_id = u.id and t.workspace_id = i.workspace_id
                              and t.running_job_id is null and t.lease_until > clock_timestamp()
                            offset 0) held;
        if is_probe then
            takes := 1;
        else
            takes := p_limit;
            v_most := coalesce(i.max_in_flight, p_max_in_flight);
            if i.ramp_limit is not null or v_most is not null then
                -- Jobs from before the recovery say nothing of the app now: the ramp does not wait for them.
                select least(takes, v_most - cardinality(in_flight) - count(*)::integer,
                             i.ramp_limit - cardinality(in_flight)
                             - (count(*) filter (where t.running_since >= i.status_since))::integer) into takes
                from reconciler.turns t
                where t.workspace_id = i.workspace_id and t.integration_id = i.integration_id
                  and t.running_job_id is not null;
            end if;
            v_rate := coalesce(i.starts_per_minute, p_starts_per_minute);
            if v_rate is not null then
                -- One second's worth may be taken up at once.
                v_every := interval '1 minute' / v_rate;
                takes := least(takes, floor(extract(epoch from
                    v_now + v_every * ceil(v_rate / 60.0) - greatest(i.next_start_at, v_now))
                    / extract(epoch from v_every))::integer);
            end if;
        end if;
        if takes > 0 then
            return next;
        end if;
    end loop;
end
$$;
