-- One row per member that the daemon knows anything about: the desired state, the observed state, whose turn it is, and
-- what former attempts and people may still change. The row is the lock of the member. Only the daemon has privileges
-- here, so no lock on a row outlives one short transaction of the daemon.
--
-- A HOT update needs that no column of an index changes, including the columns of its predicate, and that the page has
-- room, hence the fillfactor. HOT: a claim, the release of a lease, an update of the possible effects or the observed
-- state. Not HOT: a turn that begins or ends, a request that has to wait for one, a retry, a poll of a job, a watch that is
-- set or moved.
create table reconciler.members (
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    member_id      text collate "C" not null,
    -- As in the latest request.
    member_email    text not null,
    member_username text,

    -- Desired state: the latest request that had its turn. It stays when its task is deleted.
    desired_task_id      bigint,
    desired_operation    text,
    desired_entitlements text[],
    desired_requested_at timestamptz,
    -- Requests that no older one may undo: the latest removal, whatever its result, and the latest invite and change of
    -- role that took effect.
    removal_task_id      bigint,
    removal_requested_at timestamptz,
    invite_task_id       bigint,
    invite_requested_at  timestamptz,
    role_task_id         bigint,
    role_requested_at    timestamptz,

    -- The request whose turn it is, and those that come next, in order: at most one of each operation. An open action
    -- goes before both.
    ready_task_id    bigint,
    ready_is_removal boolean     not null default false,
    ready_needs_no_automation boolean not null default false,
    next_attempt_at  timestamptz not null default now(),
    blocked_task_ids bigint[]    not null default '{}',
    open_action_id   bigint,

    -- The attempt of the request whose turn it is.
    trying_since      timestamptz,
    running_job_id    text,
    running_since     timestamptz,
    found_by_id       boolean     not null default false,
    uncertain_since   timestamptz,
    lease_token       bigint      not null default 0,
    lease_until       timestamptz,
    unreleased_claims integer     not null default 0,

    -- What former attempts and people may have changed. The last four count only while they are later than the latest
    -- snapshot of the integration.
    effects_possible_until timestamptz,
    removed_by_hand_at     timestamptz,
    admitted_by_hand_at    timestamptz,
    removal_tried_until    timestamptz,
    admission_tried_until  timestamptz,
    worked_at              timestamptz,

    -- Observed state: what the latest snapshot showed that differed from the one before.
    observed_at           timestamptz,
    observed_membership   text,
    observed_entitlements text[],

    -- After a confirmed change: a removed member may come back, an invitation may expire.
    watch_task_id   bigint,
    watch_operation text,
    watch_since     timestamptz,
    watch_checks    integer     not null default 0,
    watch_due_at    timestamptz,
    watch_asked_at  timestamptz,

    primary key (workspace_id, integration_id, member_id),
    constraint only_turns_are_leased check (ready_task_id is not null or lease_until is null),
    constraint actions_go_first check (open_action_id is null or ready_task_id is null),
    constraint jobs_say_since_when check ((running_job_id is null) = (running_since is null)),
    constraint jobs_belong_to_a_turn check (ready_task_id is not null or running_job_id is null),
    constraint watches_say_what_and_since_when
        check ((watch_due_at is null) = (watch_task_id is null) and (watch_due_at is null) = (watch_operation is null)
               and (watch_due_at is null) = (watch_since is null)),
    constraint watch_operation_is_invite_or_remove check (watch_operation in ('invite', 'remove'))
) with (fillfactor = 50, vacuum_truncate = false, autovacuum_vacuum_scale_factor = 0.02);

create trigger forgotten_members_are_recorded
    after delete on reconciler.members
    referencing old table as old_rows
    for each statement execute function reconciler.record_forgotten_members();

comment on table reconciler.members is
    'What should be true of a member of an integration, what was observed, and whose turn it is.';

comment on column reconciler.members.trying_since is
    'When trying began, moved forward by every wait that was not an attempt. The age limit counts from here.';

comment on column reconciler.members.uncertain_since is
    'An attempt may have reached the app without an answer to us: read the member before repeating.';

comment on column reconciler.members.lease_token is
    'Of the latest claim, unlike that of any other claim of any member: who has another one comes too late.';

comment on column reconciler.members.effects_possible_until is
    'Until when an attempt whose task has ended may still change the app; nothing is asked for the member before.';

-- Due times are never null; the condition keeps the planner from using this index to find a single member. Queries say
-- next_attempt_at <= 'infinity': from PostgreSQL 17 on, the planner drops "is not null" for such a column before it looks
-- for an index. The task is in it for lists and counts of what waits, which read no member then.
create index ready_by_due_time
    on reconciler.members (workspace_id, integration_id, ready_is_removal, next_attempt_at) include (ready_task_id)
    where ready_task_id is not null and next_attempt_at is not null;

-- Jobs in flight are counted and polled, and tasks that automation cannot do are escalated, whatever the status of the
-- integration.
create index unhindered_by_due_time
    on reconciler.members (workspace_id, integration_id, next_attempt_at)
    where ready_task_id is not null and (running_job_id is not null or ready_needs_no_automation);

-- Few members have requests that wait for a turn. Without this index, people who look for these requests read all members.
-- Statements about single members say "not equal to none" instead of "more than none", and so do not use it.
create index members_with_blocked_requests
    on reconciler.members (workspace_id, integration_id) where blocked_task_ids > '{}';

create index watches_by_due_time on reconciler.members (watch_due_at) where watch_due_at is not null;

create view reconciler.task_places as
select workspace_id, integration_id, member_id, task_id,
       case when held_reason is null then 'unordered' else 'held' end as place,
       null::timestamptz as next_attempt_at, false as is_running, held_reason
from reconciler.arrivals
union all
select workspace_id, integration_id, member_id, ready_task_id, 'ready', next_attempt_at, running_job_id is not null, null
from reconciler.members where ready_task_id is not null and next_attempt_at <= 'infinity'
union all
select m.workspace_id, m.integration_id, m.member_id, b.task_id, 'blocked', null, false, null
from reconciler.members m cross join unnest(m.blocked_task_ids) b (task_id)
where m.blocked_task_ids > '{}';

comment on view reconciler.task_places is
    'Where an unfinished request stands: unordered, held (a person has to decide, see held_reason), ready (its turn), or blocked behind another request or an action.';

comment on column reconciler.task_places.workspace_id is 'The customer''s tenant in Cerby.';

comment on column reconciler.task_places.integration_id is 'Cerby''s id of the integration.';

comment on column reconciler.task_places.member_id is 'Cerby''s user id of the member.';

comment on column reconciler.task_places.task_id is 'Id of the unfinished automation task.';

comment on column reconciler.task_places.place is
    'unordered: intake has not placed it; held: a person has to decide; ready: it has its turn; blocked: behind '
    'another request or a manual action of the member.';

comment on column reconciler.task_places.next_attempt_at is
    'When a ready task is due for an attempt or for a poll of its job; null for every other place.';

comment on column reconciler.task_places.is_running is 'Whether a job of the backend is in flight for the task.';

comment on column reconciler.task_places.held_reason is
    'How the kind or application of a held task differs from its integration; null for every other place.';
