create table reconciler.integrations (
    workspace_id      text collate "C" not null,
    integration_id    text collate "C" not null,
    name              text        not null,
    kind              text        not null,
    application       text        not null,
    gate              text        not null default 'open',
    gate_reason       text,
    gate_until        timestamptz,
    -- Set by people: how much of the app's automation may run at a time, for all replicas together.
    max_in_flight     integer,
    starts_per_minute integer,
    -- Set by people: whom no report may remove unasked, and how often the app is read without a reason.
    own_account         text,
    administrator_roles text[],
    reading_every_s     integer,

    -- The daemon's side of the gate.
    gate_cause        text,
    gate_since        timestamptz,
    shut_since        timestamptz,
    shut_until        timestamptz,
    gate_failures     integer     not null default 0,
    gate_closings     integer     not null default 0,
    gate_slope        integer,
    gate_probe        bigint,
    gate_reminded_at  timestamptz,
    taken             bigint[]    not null default '{}',
    next_start_at     timestamptz not null default '-infinity',
    next_reading_at   timestamptz,
    doubtful_readings integer     not null default 0,
    primary key (workspace_id, integration_id),
    constraint kind_is_app_or_business_hub check (kind in ('app', 'business_hub')),
    constraint gate_is_open_half_open_closed_paused_or_credentials
        check (gate in ('open', 'half_open', 'closed', 'paused', 'credentials')),
    constraint gate_cause_is_failures_or_rate_limit check (gate_cause in ('failures', 'rate_limit')),
    constraint max_in_flight_is_at_least_1 check (max_in_flight >= 1),
    constraint starts_per_minute_is_at_least_1 check (starts_per_minute >= 1),
    constraint own_account_is_not_empty_nor_padded check (own_account = btrim(own_account) and own_account <> ''),
    constraint reading_every_s_is_0_or_at_least_60 check (reading_every_s = 0 or reading_every_s >= 60),
    constraint closed_gates_say_why_and_how_long
        check (gate not in ('closed', 'half_open') or (gate_cause is not null and gate_until is not null)),
    constraint shut_gates_say_why check (gate = 'open' or gate_reason is not null)
) with (fillfactor = 30);

comment on table reconciler.integrations is
    'The connections to external apps that tasks were seen for, and whether their gate lets tasks through.';
comment on column reconciler.integrations.gate is
    'open; closed: attempts fail or the rate is limited, until gate_until; half_open: one task tries; '
    'paused: by a person; credentials: the app refuses the stored login, a manual action asks to mend it.';
comment on column reconciler.integrations.max_in_flight is 'Tasks in flight at a time, all replicas together; null for the configured number.';
comment on column reconciler.integrations.starts_per_minute is 'Tasks taken up per minute, all replicas together; null for the configured number.';
comment on column reconciler.integrations.own_account is
    'Email, name in the app or id of the account that the automation logs in with: no report removes it without a person.';
comment on column reconciler.integrations.administrator_roles is
    'Ids of roles that make an administrator; null for the configured ones.';
comment on column reconciler.integrations.reading_every_s is
    'Seconds between readings that nothing else asked for; 0 for never, null for the configured number.';
comment on column reconciler.integrations.doubtful_readings is
    'Readings in a row that failed or were incomplete.';
comment on column reconciler.integrations.gate_slope is
    'After a gate opened: tasks in flight at a time, one more with each that works, until the slope ends.';
comment on column reconciler.integrations.gate_probe is 'The one task that tries while the gate is half open.';
comment on column reconciler.integrations.shut_until is
    'When the gate opened again; until deadlines have been put off by the time it was shut.';
comment on column reconciler.integrations.taken is
    'Tasks that were let through while their number is limited; those no longer in flight are dropped from it.';

-- People pause and resume; the other positions of the gate are the daemon's findings.
create function reconciler.guard_gate() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if not reconciler.is_daemon() then
        if new.gate not in ('open', 'paused') then
            raise exception 'the gate of integration % can be set to open or paused, not to %', old.integration_id, new.gate
                using errcode = 'check_violation';
        end if;
        if new.gate = 'paused' and (btrim(coalesce(new.gate_reason, '')) = ''
                                    or old.gate <> 'paused' and new.gate_reason is not distinct from old.gate_reason) then
            raise exception 'pausing integration % needs a gate_reason', old.integration_id
                using errcode = 'check_violation';
        end if;
    end if;
    if new.gate is distinct from old.gate then
        new.gate_since := clock_timestamp();
        new.gate_failures := 0;
        new.gate_reminded_at := case when new.gate <> 'open' then old.gate_reminded_at end;
        new.shut_since := coalesce(old.shut_since, clock_timestamp());
        new.shut_until := case when new.gate = 'open' then clock_timestamp() end;
    end if;
    if new.gate in ('open', 'paused', 'credentials') then
        new.gate_until := null;
        new.gate_cause := null;
        new.gate_probe := null;
    end if;
    if new.gate = 'open' then
        new.gate_reason := null;
        -- One first, then the rest at a slope: what waited behind a gate must not stampede.
        if old.gate <> 'open' then
            new.gate_slope := 1;
        end if;
    end if;
    return new;
end
$$;

create trigger gate_changes_are_guarded
    before update of gate on reconciler.integrations
    for each row execute function reconciler.guard_gate();

-- Whether an open gate lets through only so many; a parameter stands where the row does not say.
create function reconciler.is_limited(i reconciler.integrations, p_max_in_flight integer, p_starts_per_minute integer)
    returns boolean
    language sql immutable as
$$
    select i.gate_slope is not null
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
        where (g.gate in ('closed', 'half_open') and g.gate_until <= clock_timestamp()
               or g.gate = 'open' and reconciler.is_limited(g, p_max_in_flight, p_starts_per_minute))
          and g.workspace_id <> all (p_silent_workspaces)
        order by random()
        for no key update skip locked
    loop
        -- For the trail of the caller's statement, which writes the gate.
        perform set_config('reconciler.actor', 'daemon', true);
        workspace_id := i.workspace_id;
        integration_id := i.integration_id;
        is_probe := i.gate <> 'open';
        select coalesce(array_agg(u.id), '{}') into in_flight
        from unnest(i.taken) u (id)
        cross join lateral (select from reconciler.turns t
                            where t.task_id = u.id and t.workspace_id = i.workspace_id
                              and t.running_job_id is null and t.lease_until > clock_timestamp()
                            offset 0) held;
        if is_probe then
            takes := 1;
        else
            takes := p_limit;
            v_most := coalesce(i.max_in_flight, p_max_in_flight);
            if i.gate_slope is not null or v_most is not null then
                -- Jobs from before the opening say nothing of the app now: the slope does not wait for them.
                select least(takes, v_most - cardinality(in_flight) - count(*)::integer,
                             i.gate_slope - cardinality(in_flight)
                             - (count(*) filter (where t.running_since >= i.gate_since))::integer) into takes
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
