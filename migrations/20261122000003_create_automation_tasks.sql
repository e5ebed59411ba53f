-- The inbound contract: the backend inserts the first block of columns and nothing else.
-- Constraints are named after the column, so that the database's own refusal says which one is wrong.
create table reconciler.automation_tasks (
    id                     bigint generated always as identity,
    workspace_id           text collate "C" not null,
    source_id              text collate "C" not null,
    job_id                 text,
    integration_id         text collate "C" not null,
    integration_kind       text        not null,
    integration_name       text        not null,
    application            text        not null,
    member_id              text collate "C" not null,
    member_email           text        not null,
    member_username        text,
    member_name            text,
    operation              text        not null,
    entitlements           text[]      not null default '{}',
    hub_role               text,
    trigger                text        not null,
    requested_at           timestamptz not null,
    failure_code           text,
    failure_message        text,
    failure_screenshot_url text,
    can_retry              boolean,
    user_required          boolean,
    traceparent            text,

    -- The daemon's side: what became of it. Nothing of this is indexed, so that writing it writes no index.
    state                  text        not null default 'pending',
    received_at            timestamptz not null default clock_timestamp(),
    ordered_at             timestamptz,
    attempts               integer     not null default 0,
    next_attempt_at        timestamptz not null default now(),
    last_error             text,
    superseded_by          bigint,
    returned_at            timestamptz,
    tried_since            timestamptz,
    acted_until            timestamptz,
    closed_at              timestamptz,
    closed_reason          text,

    primary key (id, workspace_id),
    constraint source_id_is_unique_in_the_workspace unique (source_id, workspace_id),
    -- What comes in is checked when it comes in: nobody may change these columns later, and every later update
    -- of the row would pay for the patterns again.
    constraint workspace_id_is_1_to_63_letters_digits_hyphens_underscores
        check (ordered_at is not null
               or char_length(workspace_id) <= 63 and workspace_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]*$'),
    constraint source_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(source_id) <= 200 and source_id collate "default" ~ '^[[:graph:]]+$'),
    constraint job_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(job_id) <= 200 and job_id collate "default" ~ '^[[:graph:]]+$'),
    constraint integration_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(integration_id) <= 200 and integration_id collate "default" ~ '^[[:graph:]]+$'),
    constraint integration_kind_is_app_or_business_hub
        check (ordered_at is not null or integration_kind in ('app', 'business_hub')),
    constraint integration_name_is_not_empty
        check (ordered_at is not null or btrim(integration_name) <> ''),
    constraint integration_id_and_member_id_are_not_dots
        check (ordered_at is not null or integration_id not in ('.', '..') and member_id not in ('.', '..')),
    constraint application_is_not_empty
        check (ordered_at is not null or btrim(application) <> ''),
    constraint member_id_is_1_to_200_visible_characters
        check (ordered_at is not null
               or char_length(member_id) <= 200 and member_id collate "default" ~ '^[[:graph:]]+$'),
    constraint member_email_has_an_at_sign
        check (ordered_at is not null or member_email ~ '^[^[:space:]@]+@[^[:space:]@]+$'),
    constraint member_email_is_at_most_320_characters
        check (ordered_at is not null or char_length(member_email) <= 320),
    constraint operation_is_invite_remove_or_change_role
        check (ordered_at is not null or operation in ('invite', 'remove', 'change_role')),
    constraint entitlements_are_not_null_or_empty
        check (ordered_at is not null
               or array_position(entitlements, null) is null and array_position(entitlements, '') is null),
    constraint entitlements_are_given_for_change_role
        check (ordered_at is not null or (operation <> 'change_role' or cardinality(entitlements) > 0)),
    constraint hub_role_is_account_owner_or_account_collaborator
        check (ordered_at is not null or hub_role in ('account_owner', 'account_collaborator')),
    constraint trigger_is_manual_workspace_policy_system_or_user_deprovisioned
        check (ordered_at is not null
               or trigger in ('manual', 'workspace_policy', 'system', 'user_deprovisioned')),
    constraint trigger_user_deprovisioned_is_for_operation_remove
        check (ordered_at is not null or (trigger <> 'user_deprovisioned' or operation = 'remove')),
    constraint requested_at_is_at_most_a_day_ahead
        check (ordered_at is not null
               or isfinite(requested_at) and requested_at <= received_at + interval '1 day'),

    constraint state_is_known
        check (state in ('pending', 'running', 'succeeded', 'escalated', 'superseded', 'cancelled')),
    constraint closed_tasks_say_when_and_why
        check ((state in ('succeeded', 'escalated', 'superseded', 'cancelled')) = (closed_at is not null)
               and (closed_at is null) = (closed_reason is null)),
    constraint superseded_tasks_say_by_what check (state <> 'superseded' or superseded_by is not null)
) with (fillfactor = 50, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.02);

comment on table reconciler.automation_tasks is
    'One operation for one member that automation failed to do.';
comment on column reconciler.automation_tasks.ordered_at is 'When it got its place among what is wanted of the member.';
comment on column reconciler.automation_tasks.tried_since is 'Of a task that has ended: when trying began.';
comment on column reconciler.automation_tasks.acted_until is
    'Of a task that has ended and was tried: until when an attempt of it may change the app. That can be a time to come, if '
    'nobody knows what became of the last one; the member''s next task is not due before.';
comment on column reconciler.automation_tasks.returned_at is
    'When a person sent it back to automation after a fix: what failed before that is no longer asked.';

create index intents_of_a_member
    on reconciler.automation_tasks (workspace_id, integration_id, member_id, requested_at, id);

-- Until when what has ended may still act on a member: nothing is asked for them before, or both could take effect in any
-- order.
create function reconciler.acted_until(p_workspace_id text, p_integration_id text, p_member_id text) returns timestamptz
    language sql stable set search_path = pg_catalog, pg_temp as
$$
    select max(t.acted_until) from reconciler.automation_tasks t
    where t.workspace_id = p_workspace_id and t.integration_id = p_integration_id and t.member_id = p_member_id
$$;

-- The unfinished tasks, and no others: whose turn it is, and who holds which. Small rows that change often, apart from
-- large ones that change seldom: what a task costs does not grow with what is kept.
--
-- The table is empty at night and has a million rows in the morning, and sessions keep the plans that they made at
-- night. So statements leave no choice to the planner here: they look rows up in a lateral subquery that `offset 0`
-- keeps from being joined in another way, and change them by their ctid: nobody can move a row that is locked, and who
-- has not locked it asks for its lease_token again.
create table reconciler.turns (
    task_id           bigint      not null,
    workspace_id      text collate "C" not null,
    integration_id    text collate "C" not null,
    member_id         text collate "C" not null,
    requested_at      timestamptz not null,
    turn              text        not null default 'arrived',
    next_attempt_at   timestamptz not null default now(),
    trying_since      timestamptz,
    running_job_id    text,
    running_since     timestamptz,
    uncertain_since   timestamptz,
    lease_token       bigint      not null default 0,
    lease_until       timestamptz,
    unreleased_claims integer     not null default 0,

    constraint turn_is_arrived_waiting_or_head check (turn in ('arrived', 'waiting', 'head')),
    constraint only_heads_are_leased check (turn = 'head' or lease_until is null),
    constraint jobs_say_since_when check ((running_job_id is null) = (running_since is null))
) with (fillfactor = 60, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.02);

comment on table reconciler.turns is
    'The unfinished tasks: whose turn it is and who holds which. A task that has ended has no row here.';
comment on column reconciler.turns.turn is
    'arrived: not ordered yet; waiting: behind another task or a manual action of the member; head: its turn.';
comment on column reconciler.turns.trying_since is
    'When trying began, moved forward by every wait that was not trying. The age limit counts from here.';
comment on column reconciler.turns.uncertain_since is
    'An attempt may have reached the app without an answer to us: look before repeating.';
comment on column reconciler.turns.lease_token is
    'Of the latest claim, unlike that of any other claim of any task: who has another one comes too late.';

-- The key. No primary key, for that could be read by its second column from one end to the other, which seems as cheap
-- as any other way while the queue is empty; task ids are never null, and said here, it keeps whoever does not ask for
-- one out of this index.
create unique index one_turn_per_task on reconciler.turns (task_id, workspace_id) where task_id is not null;
alter table reconciler.turns replica identity full;
-- Mutual exclusion per member, by the database. The member comes first, as it tells most rows apart: every task is put in
-- here, and a comparison on the way there goes on for as long as columns are alike.
create unique index one_head_per_member
    on reconciler.turns (member_id, integration_id, workspace_id) where turn = 'head';
-- Due times are never null; said here, it keeps whoever looks for a member's head out of this index.
create index heads_by_due_time
    on reconciler.turns (workspace_id, integration_id, next_attempt_at, task_id)
    where turn = 'head' and next_attempt_at is not null;
-- Jobs in flight are counted and watched whatever the status.
create index running_by_due_time
    on reconciler.turns (workspace_id, integration_id, next_attempt_at, task_id) where running_job_id is not null;
create index arrivals on reconciler.turns (task_id) where turn = 'arrived';
create index waiting_by_member
    on reconciler.turns (workspace_id, integration_id, member_id, requested_at, task_id) where turn = 'waiting';

create sequence reconciler.lease_tokens;

-- A plain insert is the whole contract; the backend knows of no second table.
create function reconciler.queue_arrivals() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.turns (task_id, workspace_id, integration_id, member_id, requested_at)
    select id, workspace_id, integration_id, member_id, requested_at from arrived;
    perform pg_notify('reconciler', 'arrivals');
    return null;
end
$$;

create trigger arrivals_are_queued
    after insert on reconciler.automation_tasks
    referencing new table as arrived
    for each statement execute function reconciler.queue_arrivals();
