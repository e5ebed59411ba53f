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

comment on column reconciler.syncs.id is 'Id of the sync, which approve and reject take. Assigned by the database.';

comment on column reconciler.syncs.workspace_id is 'The customer''s tenant in Cerby. Written by the daemon.';

comment on column reconciler.syncs.integration_id is
    'Cerby''s id of the integration that is read. Written by the daemon.';

comment on column reconciler.syncs.procedure is
    'How the integration is read: check_and_apply for an app, sync for a business_hub. Written by the daemon.';

comment on column reconciler.syncs.state is
    'requested: not started; started: the app is read; held: a person has to decide on the report; report_ready: a '
    'person decided; applying: the report is applied; finished or failed: ended. Written by the daemon; a decision '
    'sets report_ready.';

comment on column reconciler.syncs.requested_at is 'When the sync was requested. Stamped by the database.';

comment on column reconciler.syncs.next_step_at is
    'When the next step is due. It has no meaning while the sync is held and once it has ended. Written by the '
    'daemon; a decision sets it to now.';

comment on column reconciler.syncs.started_at is
    'When the snapshot started, written before the backend is asked; null while the sync is requested. A restarted '
    'snapshot has a later time. Written by the daemon.';

comment on column reconciler.syncs.running_job_id is
    'The backend''s job in flight; null if there is none. Written by the daemon.';

comment on column reconciler.syncs.running_since is
    'When that job was started; null if there is none. Written by the daemon.';

comment on column reconciler.syncs.report_id is
    'The backend''s id of the report that is held or applied; null if there is none. Written by the daemon.';

comment on column reconciler.syncs.failures is
    'Number of failed steps that were tried again; a wait for the backend does not count. Written by the daemon.';

comment on column reconciler.syncs.last_error is
    'Cause of the latest step that failed or was postponed; null if there was none. A success does not clear it. '
    'Written by the daemon.';

comment on column reconciler.syncs.held_reason is
    'Why the report is or was held, as a sentence for people; null if it never was. Written by the daemon.';

comment on column reconciler.syncs.decision is
    'approved or rejected. Null until a person decides, once, while the sync is held and before held_until.';

comment on column reconciler.syncs.decision_reason is 'The reason of the person who decided; null without a decision.';

comment on column reconciler.syncs.decided_by is 'Who decided; null without a decision. Stamped by the database.';

comment on column reconciler.syncs.decided_at is
    'When the person decided; null without a decision. Stamped by the database.';

comment on column reconciler.syncs.finished_at is 'When the sync ended; null before. Written by the daemon.';

comment on column reconciler.syncs.finished_reason is
    'Why the sync ended, as a sentence for people; null before. Written by the daemon.';

comment on column reconciler.syncs.unexpected_removals is
    'Number of members whom an apply removes although nobody requested it, counted just before the apply. Null if '
    'there was no such apply. Written by the daemon.';

comment on column reconciler.syncs.lease_token is
    'Number of claims of this row so far. A worker whose claim has another number changes nothing. Written by the '
    'daemon.';

comment on column reconciler.syncs.lease_until is
    'Until when a worker has claimed this row; null if none has. Written by the daemon.';

comment on column reconciler.syncs.unreleased_claims is
    'Consecutive claims without a result, including the present one. The sync ends as failed after '
    'worker.max_unreleased_claims. Written by the daemon.';

comment on constraint procedure_is_check_and_apply_or_sync on reconciler.syncs is
    'procedure is check_and_apply or sync.';

comment on constraint state_is_known on reconciler.syncs is
    'state is requested, started, report_ready, held, applying, finished or failed.';

comment on constraint started_syncs_say_when on reconciler.syncs is 'started_at is set unless state is requested.';

comment on constraint held_syncs_say_why_and_how_long on reconciler.syncs is
    'held_reason and held_until are set if state is held.';

comment on constraint ended_syncs_say_when on reconciler.syncs is
    'finished_at is set if state is finished or failed, and null otherwise.';

comment on constraint decision_is_approved_or_rejected on reconciler.syncs is 'decision is null, approved or rejected.';

comment on constraint decisions_have_a_reason on reconciler.syncs is
    'decision_reason is set and not blank if decision is set.';
