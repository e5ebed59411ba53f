create table reconciler.syncs (
    id                bigint generated always as identity,
    workspace_id      text collate "C" not null,
    integration_id    text collate "C" not null,
    procedure         text        not null,
    state             text        not null default 'requested',
    causes            text[]      not null default '{}',
    requested_at      timestamptz not null default clock_timestamp(),
    next_step_at      timestamptz not null default clock_timestamp(),
    started_at        timestamptz,
    running_job_id    text,
    running_since     timestamptz,
    report_id         text,
    report            jsonb,
    failures          integer     not null default 0,
    earlier_runs      text[]      not null default '{}',
    last_error        text,
    held_reason       text,
    held_until        timestamptz,
    decision          text,
    decision_reason   text,
    decided_by        text,
    decided_at        timestamptz,
    finished_at       timestamptz,
    finished_reason   text,
    unexpected_removals integer,
    is_reduced        boolean     not null default false,
    lease_token       bigint      not null default 0,
    lease_until       timestamptz,
    unreleased_claims integer     not null default 0,
    primary key (id, workspace_id),
    constraint procedure_is_check_and_apply_or_sync check (procedure in ('check_and_apply', 'sync')),
    constraint state_is_known
        check (state in ('requested', 'started', 'report_ready', 'held', 'applying', 'finished', 'failed')),
    constraint started_syncs_say_when check (state = 'requested' or started_at is not null),
    constraint held_syncs_say_why_and_how_long
        check (state <> 'held' or (held_reason is not null and held_until is not null)),
    constraint ended_syncs_say_when check ((state in ('finished', 'failed')) = (finished_at is not null)),
    constraint decision_is_approved_or_rejected check (decision in ('approved', 'rejected')),
    constraint decisions_have_a_reason check (decision is null or btrim(decision_reason) <> '')
) with (fillfactor = 60);

comment on column reconciler.syncs.causes is
    'Why the app is read: done, again, watch, period, person. Many causes make one snapshot.';

comment on column reconciler.syncs.report is
    'What was found: update (the app''s own report), snapshot (proof of completeness, hash), counts by class, differences.';

comment on column reconciler.syncs.earlier_runs is
    'Jobs and reports of unknown age that were there before: what follows them is younger than this sync.';

comment on column reconciler.syncs.is_reduced is
    'Whether the report holds no more than what verdicts rest on: counts, and the proof of the snapshot with its hash.';

comment on column reconciler.syncs.held_until is 'Until when a person can decide; then the app is read anew.';

comment on table reconciler.syncs is
    'One snapshot of an integration''s real members, the import of what it found, and what it shows of the done actions.';

-- These two indexes make many requests share one sync: a "done" during a running sync adds one more request, which can
-- only start after that sync. So proof always rests on a snapshot younger than the change.
create unique index one_requested_sync_per_integration
    on reconciler.syncs (workspace_id, integration_id) where state = 'requested';

create unique index one_active_sync_per_integration
    on reconciler.syncs (workspace_id, integration_id)
    where state in ('started', 'report_ready', 'held', 'applying');

create index unfinished_syncs_by_due_time
    on reconciler.syncs (next_step_at) where state in ('requested', 'started', 'report_ready', 'applying');

create index whole_syncs_by_time on reconciler.syncs (finished_at) where finished_at is not null and not is_reduced;

create index reduced_syncs_by_time on reconciler.syncs (finished_at) where is_reduced;

-- Integrations are never null; the condition keeps the planner from using this index to find a single sync.
create index syncs_of_an_integration
    on reconciler.syncs (workspace_id, integration_id, started_at) where integration_id is not null;

create index applied_removals_by_time
    on reconciler.syncs (workspace_id, integration_id, finished_at) where unexpected_removals > 0;
