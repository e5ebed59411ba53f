create table reconciler.manual_actions (
    id                     bigint generated always as identity,
    status                 text        not null default 'open',
    operation              text        not null,
    workspace_id           text collate "C" not null,
    integration_id         text collate "C" not null,
    integration_name       text        not null,
    integration_kind       text        not null,
    application            text        not null,
    member_id              text collate "C" not null,
    member_email           text        not null,
    member_username        text,
    member_name            text,
    entitlements           text[]      not null default '{}',
    trigger                text        not null,
    reason                 text        not null,
    failure_code           text,
    failure_message        text,
    failure_screenshot_url text,
    attempts               integer     not null default 0,
    instructions           text        not null,
    shown                  jsonb       not null default '{}',
    due_at                 timestamptz not null,
    opened_at              timestamptz not null default clock_timestamp(),
    reminded_at            timestamptz,
    assignee               text,
    assigned_at            timestamptz,
    note                   text,
    note_at                timestamptz,
    done_by                text,
    done_at                timestamptz,
    confirmed_by           text,
    confirmed_at           timestamptz,
    verdict                text,
    verdict_at             timestamptz,
    observed               text,
    snapshots              integer     not null default 0,
    reopened_count         integer     not null default 0,
    closed_at              timestamptz,
    task_id                bigint      not null,
    sync_id                bigint,
    snapshot_hash          text,
    snapshot_started_at    timestamptz,
    -- due_at already includes the inactive time of the integration up to this time.
    extended_until          timestamptz not null default '-infinity',
    primary key (id, workspace_id),
    constraint status_is_known check (status in
        ('open', 'in_progress', 'done', 'verified', 'attested', 'not_needed', 'dismissed', 'superseded', 'returned')),
    constraint operation_is_invite_remove_change_role_or_reconnect
        check (operation in ('invite', 'remove', 'change_role', 'reconnect')),
    constraint only_reconnect_is_about_no_member check ((operation = 'reconnect') = (member_id = '')),
    constraint verdict_is_known check (verdict in ('confirmed', 'not_yet', 'contradicted', 'unverifiable')),
    constraint done_actions_say_who_and_when
        check (status not in ('done', 'verified', 'attested') or (done_by is not null and done_at is not null)),
    constraint confirmations_say_who_and_when check ((confirmed_by is null) = (confirmed_at is null)),
    constraint verified_actions_are_confirmed
        check (status <> 'verified' or (verdict = 'confirmed' and coalesce(snapshot_started_at > done_at, false))),
    constraint note_is_at_most_10000_characters check (char_length(note) <= 10000),
    constraint assignee_is_1_to_200_characters_not_blank check (btrim(assignee) <> '' and char_length(assignee) <= 200),
    constraint ended_actions_say_when check ((status in ('open', 'in_progress', 'done')) = (closed_at is null))
) with (fillfactor = 70);

comment on table reconciler.manual_actions is
    'What a person has to do in an app, with instructions, deadline and verdict. Mark one done with: '
    'update reconciler.manual_actions set status = ''done'', note = ''...'' where id = ...';

comment on column reconciler.manual_actions.observed is 'What the latest verdict rests on: what the snapshot showed of this member, or why it showed nothing.';

comment on column reconciler.manual_actions.snapshot_hash is 'The hash of that snapshot, as the report of the sync has it.';

comment on column reconciler.manual_actions.snapshot_started_at is
    'When that snapshot started. A sync that begins anew has a later one than the verdicts it has given.';

comment on column reconciler.manual_actions.shown is
    'What the trail keeps of the instructions: their template, its hash, and their text without the person.';

comment on column reconciler.manual_actions.confirmed_by is
    'Who confirmed the statement of another person, where the app cannot be read and the integration has four_eyes set.';

comment on column reconciler.manual_actions.sync_id is 'The sync whose snapshot gave the verdict.';

-- One escalation per desired state: retries, crashes and replicas cannot open a second one.
create unique index one_unfinished_action_per_member
    on reconciler.manual_actions (workspace_id, integration_id, member_id)
    where closed_at is null;

-- Due times and members are never null; the conditions keep the planner from using these indexes for other queries.
create index actions_by_due_time
    on reconciler.manual_actions (due_at) where closed_at is null and due_at is not null;

create index unfinished_actions_of_an_integration
    on reconciler.manual_actions (workspace_id, integration_id, id)
    where closed_at is null;

create index done_actions_of_an_integration
    on reconciler.manual_actions (workspace_id, integration_id) where status = 'done';

create index actions_of_a_member
    on reconciler.manual_actions (workspace_id, integration_id, member_id, closed_at) where member_id is not null;

create index ended_actions on reconciler.manual_actions (closed_at) where closed_at is not null;

create index action_of_a_task on reconciler.manual_actions (task_id);
