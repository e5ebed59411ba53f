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
    loosened_at         timestamptz,
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
    next_due_at          timestamptz,

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
    -- The time without activity by which the deadlines of manual actions are extended.
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
    'When the integration became active again; until the daemon has extended the deadlines by the time that it was not.';

comment on column reconciler.integration_states.admitted_task_ids is
    'Tasks that were let through while their number is limited; those no longer in flight are dropped from it.';

create index integrations_by_next_due_time on reconciler.integration_states (next_due_at) where next_due_at is not null;

create index inactive_integrations
    on reconciler.integration_states (inactive_since) where inactive_since is not null;

create index snapshots_by_due_time
    on reconciler.integration_states (coalesce(next_snapshot_at, '-infinity'::timestamptz));

-- What people read and set. The outer join keeps people from locking the daemon's row through this view.
create view reconciler.integrations as
select s.workspace_id, s.integration_id, s.name, s.kind, s.application,
       reconciler.integration_status(s.paused_at, d.status) as status,
       case when s.paused_at is not null then s.paused_reason else d.status_reason end as status_reason,
       case when s.paused_at is null then d.status_until end as status_until,
       coalesce(s.paused_at, d.status_since) as status_since,
       s.max_in_flight, s.starts_per_minute, s.own_account, s.administrator_roles, s.snapshot_every_s,
       s.four_eyes, s.loosened_at,
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
    'Where the app cannot be read: whether a statement closes an action only once a second person confirmed it.';

comment on column reconciler.integrations.loosened_at is
    'When somebody last switched four_eyes off, or changed kind or application; null for never. Where the app cannot be '
    'read, actions that were opened before still need a second person. Stamped by the database.';

comment on column reconciler.integrations.unverifiable_snapshots is
    'Snapshots in a row that failed or were incomplete.';

comment on column reconciler.integrations.workspace_id is 'The customer''s tenant in Cerby. Written by the daemon.';

comment on column reconciler.integrations.integration_id is 'Cerby''s id of the integration. Written by the daemon.';

comment on column reconciler.integrations.name is 'Display name, as the latest task gives it. Written by the daemon.';

comment on column reconciler.integrations.kind is
    'app or business_hub, as the first task gave it. Written by the daemon; a person may correct it.';

comment on column reconciler.integrations.application is
    'Id of the app in the catalogue, such as youtube_tenant, as the first task gave it. Written by the daemon; a '
    'person may correct it.';

comment on column reconciler.integrations.status_reason is
    'Why the integration is not active; null while it is active. Set by the person who pauses it, otherwise written '
    'by the daemon.';

comment on column reconciler.integrations.status_until is
    'tripped: when one task is tried; probing: when another task may be tried. Null for every other status. Written '
    'by the daemon.';

comment on column reconciler.integrations.status_since is
    'Since when the integration has been active, or not active for the present reason; null if it has always been '
    'active. Stamped by the database for a pause, otherwise written by the daemon.';

comment on column reconciler.integrations.snapshot_at is
    'When the latest snapshot of the members started, complete or not; -infinity if there is none. Written by the '
    'daemon.';
