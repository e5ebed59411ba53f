-- What people set of an integration. The daemon only adds rows here and keeps the name current; kind and application
-- stay as they were first seen, until a person corrects them. The daemon never waits for a person who has a row locked
-- in an open transaction.
create table reconciler.integration_settings (
    workspace_id      text collate "C" not null,
    integration_id    text collate "C" not null,
    name              text        not null,
    kind              text        not null,
    application       text        not null,
    paused_reason     text,
    paused_at         timestamptz,
    max_in_flight     integer,
    starts_per_minute integer,
    own_account         text,
    administrator_roles text[],
    snapshot_every_s    integer,
    four_eyes           boolean not null default false,
    primary key (workspace_id, integration_id),
    constraint kind_is_app_or_business_hub check (kind in ('app', 'business_hub')),
    constraint application_is_1_to_200_characters_not_blank
        check (btrim(application) <> '' and char_length(application) <= 200),
    constraint paused_integrations_say_why_and_since_when
        check ((paused_reason is null) = (paused_at is null) and btrim(paused_reason) <> ''),
    constraint max_in_flight_is_1_to_100000 check (max_in_flight between 1 and 100000),
    constraint starts_per_minute_is_1_to_100000 check (starts_per_minute between 1 and 100000),
    constraint own_account_is_not_empty_nor_padded check (own_account = btrim(own_account) and own_account <> ''),
    constraint administrator_roles_are_a_plain_list
        check (cardinality(administrator_roles) = 0
               or array_ndims(administrator_roles) = 1 and array_lower(administrator_roles, 1) = 1
                  and cardinality(administrator_roles) <= 1000 and array_position(administrator_roles, null) is null),
    constraint snapshot_every_s_is_0_or_60_to_31536000
        check (snapshot_every_s = 0 or snapshot_every_s between 60 and 31536000)
) with (fillfactor = 70);

-- What the daemon knows of an integration: its circuit breaker, its snapshots, and whether its members have work. Only
-- the daemon has privileges on this table, so a lock here never outlives one short transaction of the daemon.
create table reconciler.integration_states (
    workspace_id        text collate "C" not null,
    integration_id      text collate "C" not null,

    -- No request of its members is due before this time; null while none is ready. Until then, claims and polls skip
    -- the integration.
    awake_from          timestamptz,

    -- The circuit breaker.
    status              text        not null default 'active',
    status_reason       text,
    status_until        timestamptz,
    status_since        timestamptz,
    status_cause        text,
    consecutive_failures integer    not null default 0,
    consecutive_trips   integer     not null default 0,
    ramp_limit          integer,
    probe_task_id       bigint,
    status_reminded_at  timestamptz,
    admitted_task_ids   bigint[]    not null default '{}',
    next_start_at       timestamptz not null default '-infinity',
    reconnect_action_id bigint,
    -- The time without activity by which deadlines of manual actions are put off.
    inactive_since      timestamptz,
    inactive_until      timestamptz,

    -- Snapshots.
    snapshot_at            timestamptz not null default '-infinity',
    next_snapshot_at       timestamptz,
    unverifiable_snapshots integer  not null default 0,

    primary key (workspace_id, integration_id),
    constraint status_is_active_probing_tripped_or_login_rejected
        check (status in ('active', 'probing', 'tripped', 'login_rejected')),
    constraint status_cause_is_failures_or_rate_limit check (status_cause in ('failures', 'rate_limit')),
    constraint tripped_integrations_say_why_and_how_long
        check (status not in ('tripped', 'probing') or (status_cause is not null and status_until is not null)),
    constraint inactive_integrations_say_why check (status = 'active' or status_reason is not null)
) with (fillfactor = 30);

comment on column reconciler.integration_states.snapshot_at is
    'When the latest snapshot of the members began: what is known of a member from before that is outdated.';
comment on column reconciler.integration_states.ramp_limit is
    'After a recovery: tasks in flight at a time, one more with each that works, until the ramp ends.';
comment on column reconciler.integration_states.probe_task_id is 'The one task that tries while the integration is probing.';
comment on column reconciler.integration_states.inactive_until is
    'When the integration became active again; until deadlines have been put off by the time that it was not.';
comment on column reconciler.integration_states.admitted_task_ids is
    'Tasks that were let through while their number is limited; those no longer in flight are dropped from it.';

create index awake_integrations on reconciler.integration_states (awake_from) where awake_from is not null;
create index inactive_integrations
    on reconciler.integration_states (inactive_since) where inactive_since is not null;
create index snapshots_by_due_time
    on reconciler.integration_states (coalesce(next_snapshot_at, '-infinity'::timestamptz));

-- What people read and set. The outer join keeps people from locking the daemon's row through this view.
create view reconciler.integrations as
select s.workspace_id, s.integration_id, s.name, s.kind, s.application,
       case when s.paused_at is not null then 'paused' else coalesce(d.status, 'active') end as status,
       case when s.paused_at is not null then s.paused_reason else d.status_reason end as status_reason,
       case when s.paused_at is null then d.status_until end as status_until,
       coalesce(s.paused_at, d.status_since) as status_since,
       s.max_in_flight, s.starts_per_minute, s.own_account, s.administrator_roles, s.snapshot_every_s,
       s.four_eyes,
       d.snapshot_at, d.unverifiable_snapshots
from reconciler.integration_settings s
left join reconciler.integration_states d using (workspace_id, integration_id);

comment on view reconciler.integrations is
    'The connections to external apps that tasks were seen for, and whether their tasks are let through.';
comment on column reconciler.integrations.status is
    'active; tripped: attempts fail or the rate is limited, until status_until; probing: one task tries; '
    'paused: by a person; login_rejected: the app rejects the stored login, a manual action asks to fix it.';
comment on column reconciler.integrations.max_in_flight is 'Tasks in flight at a time, all replicas together; null for the configured number.';
comment on column reconciler.integrations.starts_per_minute is 'Tasks started per minute, all replicas together; null for the configured number.';
comment on column reconciler.integrations.own_account is
    'Email, name in the app or id of the account that the automation logs in with: no report removes it without a person.';
comment on column reconciler.integrations.administrator_roles is
    'Ids of roles that make an administrator; null for the configured ones.';
comment on column reconciler.integrations.snapshot_every_s is
    'Seconds between snapshots that nothing else asked for; 0 for never, null for the configured number.';
comment on column reconciler.integrations.four_eyes is
    'Where the app cannot be read: whether a word closes an action only once a second person confirmed it.';
comment on column reconciler.integrations.unverifiable_snapshots is
    'Snapshots in a row that failed or were incomplete.';

-- Whether an active integration limits its tasks; a parameter replaces a limit that the row does not set.
create function reconciler.is_limited(s reconciler.integration_settings, d reconciler.integration_states,
                                      p_max_in_flight integer, p_starts_per_minute integer)
    returns boolean
    language sql immutable as
$$
    select d.ramp_limit is not null
           or coalesce(s.max_in_flight, p_max_in_flight) is not null
           or coalesce(s.starts_per_minute, p_starts_per_minute) is not null
$$;

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
              where a.awake_from <= clock_timestamp()
              order by a.awake_from
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

create function reconciler.check_integration_status(o reconciler.integrations, n reconciler.integrations) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if n.status is null or n.status not in ('active', 'paused') then
        raise exception 'the status of integration % can be set to active or paused, not to %',
                        o.integration_id, coalesce(n.status, 'null')
            using errcode = 'check_violation';
    end if;
    if n.status = 'paused' and (btrim(coalesce(n.status_reason, '')) = ''
                                or o.status <> 'paused' and n.status_reason is not distinct from o.status_reason) then
        raise exception 'pausing integration % needs a status_reason', o.integration_id
            using errcode = 'check_violation',
                  hint = format('update reconciler.integrations set status = ''paused'', status_reason = ''...'' '
                                'where integration_id = %L', o.integration_id);
    end if;
end
$$;

-- The old and the new value of each setting that changed.
create function reconciler.changed_settings(o reconciler.integrations, n reconciler.integrations) returns jsonb
    language sql immutable as
$$
    select jsonb_object_agg(key, jsonb_build_object('from', before.value, 'to', after.value))
    from jsonb_each(to_jsonb(o)) before
    join jsonb_each(to_jsonb(n)) after using (key)
    where key in ('kind', 'application', 'max_in_flight', 'starts_per_minute', 'own_account', 'administrator_roles',
                  'snapshot_every_s', 'four_eyes')
      and before.value is distinct from after.value
$$;

-- People pause, resume, limit, protect and correct an integration; the daemon sets the other statuses. Only the
-- settings that changed are written, so that two people can set different ones of the same integration at a time.
create function reconciler.set_integration() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_set jsonb := reconciler.changed_settings(old, new);
    v_is_status boolean := (new.status, new.status_reason) is distinct from (old.status, old.status_reason);
begin
    if v_is_status then
        perform reconciler.check_integration_status(old, new);
        update reconciler.integration_settings s
        set paused_reason = case when new.status = 'paused' then new.status_reason end,
            paused_at = case when new.status = 'paused' then coalesce(s.paused_at, clock_timestamp()) end
        where s.workspace_id = old.workspace_id and s.integration_id = old.integration_id;
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        values (case new.status when 'paused' then 'integration.paused' else 'integration.resumed' end,
                old.workspace_id, 'integration', old.integration_id,
                jsonb_strip_nulls(jsonb_build_object('from', old.status, 'reason', new.status_reason)));
    end if;
    if v_set is not null then
        update reconciler.integration_settings s
        set kind = case when v_set ? 'kind' then new.kind else s.kind end,
            application = case when v_set ? 'application' then new.application else s.application end,
            max_in_flight = case when v_set ? 'max_in_flight' then new.max_in_flight else s.max_in_flight end,
            starts_per_minute = case when v_set ? 'starts_per_minute' then new.starts_per_minute
                                     else s.starts_per_minute end,
            own_account = case when v_set ? 'own_account' then new.own_account else s.own_account end,
            administrator_roles = case when v_set ? 'administrator_roles' then new.administrator_roles
                                       else s.administrator_roles end,
            snapshot_every_s = case when v_set ? 'snapshot_every_s' then new.snapshot_every_s
                                    else s.snapshot_every_s end,
            four_eyes = case when v_set ? 'four_eyes' then new.four_eyes else s.four_eyes end
        where s.workspace_id = old.workspace_id and s.integration_id = old.integration_id;
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        values ('integration.set', old.workspace_id, 'integration', old.integration_id, v_set);
    end if;
    -- Statements that waited for a second person may now close their actions.
    insert into reconciler.nudges (workspace_id, integration_id, what)
    select old.workspace_id, old.integration_id, what
    from (select case when new.status = 'paused' then 'paused' when old.status = 'paused' then 'unpaused'
                      else 'reset' end as what
          where new.status is distinct from old.status
          union all
          select 'snapshot' where old.four_eyes and not new.four_eyes) asked;
    if found then
        perform pg_notify('reconciler', 'nudges');
    end if;
    return new;
end
$$;

create trigger settings_are_written
    instead of update on reconciler.integrations
    for each row execute function reconciler.set_integration();

-- Outages of the backend: the workspaces and apps for which it gives no usable answer. The replica that detected an
-- outage owns the row, probes and logs; the others follow the row. There are a few rows while an outage goes on, and
-- only the daemon can read them.
create table reconciler.outages (
    workspace_id   text collate "C" not null,
    -- Empty for the whole workspace.
    integration_id text collate "C" not null,
    replica        bigint      not null,
    held_until     timestamptz not null,
    primary key (workspace_id, integration_id)
);
