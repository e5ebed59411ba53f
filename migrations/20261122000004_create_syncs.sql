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
    former            text[]      not null default '{}',
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
comment on column reconciler.syncs.former is
    'Jobs and reports of unknown age that were there before: what follows them is younger than this sync.';
comment on column reconciler.syncs.is_reduced is
    'Whether the report holds no more than what verdicts rest on: counts, and the proof of the snapshot with its hash.';
comment on column reconciler.syncs.held_until is 'Until when a person can decide; then the app is read anew.';
comment on table reconciler.syncs is
    'One reading of an integration''s real members, the import of what it found, and what it says of the done actions.';

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

-- Requests a snapshot; several requests share one row. Returns false if a person has the existing request locked and it
-- may be due too late: then the caller tries again later instead of waiting.
create function reconciler.request_sync(p_workspace_id text, p_integration_id text, p_due_at timestamptz, p_cause text)
    returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_id bigint;
begin
    insert into reconciler.syncs (workspace_id, integration_id, procedure, next_step_at, causes)
    select s.workspace_id, s.integration_id,
           case s.kind when 'app' then 'check_and_apply' when 'business_hub' then 'sync' end, p_due_at, array[p_cause]
    from reconciler.integration_settings s
    where s.workspace_id = p_workspace_id and s.integration_id = p_integration_id
    on conflict (workspace_id, integration_id) where state = 'requested' do nothing;
    if not found then
        select id into v_id from reconciler.syncs
        where workspace_id = p_workspace_id and integration_id = p_integration_id and state = 'requested'
        for no key update skip locked;
        if v_id is null then
            return not exists (select from reconciler.syncs
                               where workspace_id = p_workspace_id and integration_id = p_integration_id
                                 and state = 'requested' and next_step_at > p_due_at);
        end if;
        update reconciler.syncs
        set next_step_at = least(next_step_at, p_due_at),
            causes = case when p_cause = any (causes) then causes else causes || p_cause end
        where id = v_id and workspace_id = p_workspace_id;
    end if;
    perform pg_notify('reconciler', 'syncs');
    return true;
end
$$;

-- A person requests a snapshot now; the daemon makes one request from all of them.
create function reconciler.request_snapshot(p_workspace_id text, p_integration_id text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if not exists (select from reconciler.integration_settings
                   where workspace_id = p_workspace_id and integration_id = p_integration_id) then
        raise exception 'there is no integration % in workspace %', p_integration_id, p_workspace_id
            using errcode = 'no_data_found';
    end if;
    insert into reconciler.nudges (workspace_id, integration_id, what)
    values (p_workspace_id, p_integration_id, 'snapshot');
    insert into reconciler.events (what, workspace_id, subject, subject_id)
    values ('integration.snapshot_requested', p_workspace_id, 'integration', p_integration_id);
    perform pg_notify('reconciler', 'nudges');
end
$$;

-- The only change that people make to a sync is one decision on a held report, once, with a reason.
create function reconciler.guard_sync_decision() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if old.state <> 'held' or old.decision is not null then
        raise exception 'sync % is not waiting for a decision: it is %', old.id,
                        case when old.decision is null then old.state else 'already ' || old.decision end
            using errcode = 'P0409';
    end if;
    if old.held_until < clock_timestamp() then
        raise exception 'the report of sync % could be decided on until %', old.id, old.held_until
            using errcode = 'P0410', hint = 'The app is read anew: decide on the next report.';
    end if;
    if new.decision is null or btrim(coalesce(new.decision_reason, '')) = '' then
        raise exception 'a decision on sync % needs decision (approved or rejected) and decision_reason', old.id
            using errcode = 'check_violation';
    end if;
    new.decided_by := reconciler.current_actor();
    new.decided_at := clock_timestamp();
    -- approved: the report is checked again and applied if it has not changed; rejected: the sync ends.
    new.state := 'report_ready';
    new.next_step_at := clock_timestamp();
    return new;
end
$$;

create trigger decisions_are_guarded
    before update of decision, decision_reason on reconciler.syncs
    for each row execute function reconciler.guard_sync_decision();

create function reconciler.record_sync() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('sync.' || case when tg_op = 'UPDATE' and old.decision is distinct from new.decision
                            then new.decision else new.state end,
            new.workspace_id, 'sync', new.id::text,
            jsonb_strip_nulls(jsonb_build_object(
                'integration_id', new.integration_id, 'procedure', new.procedure,
                'causes', case when new.state = 'requested' then new.causes end, 'counts', new.report -> 'counts',
                'reason', coalesce(case when new.state = 'held' then new.held_reason end,
                                   case when new.decision is not null then new.decision_reason end,
                                   new.finished_reason))));
    if tg_op = 'UPDATE' and new.state = 'report_ready' then
        perform pg_notify('reconciler', 'syncs');
    end if;
    return null;
end
$$;

create trigger deleted_syncs_are_recorded
    after delete on reconciler.syncs
    referencing old table as old_rows
    for each statement execute function reconciler.record_deletions();

create trigger sync_requests_are_recorded
    after insert on reconciler.syncs
    for each row execute function reconciler.record_sync();
create trigger sync_changes_are_recorded
    after update of state, decision on reconciler.syncs
    for each row when (old.state is distinct from new.state)
    execute function reconciler.record_sync();
