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
    put_off_until          timestamptz not null default '-infinity',
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
comment on column reconciler.manual_actions.observed is 'What the latest snapshot showed of this member.';
comment on column reconciler.manual_actions.snapshot_hash is 'The hash of that snapshot, as the report of the sync has it.';
comment on column reconciler.manual_actions.snapshot_started_at is
    'When that snapshot started. A sync that begins anew has a later one than the verdicts it has given.';
comment on column reconciler.manual_actions.shown is
    'What the trail keeps of the instructions: their template, its hash, and their text without the person.';
comment on column reconciler.manual_actions.confirmed_by is
    'Who confirmed the word of another person, where the app cannot be read and the integration asks for that (four_eyes).';
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

-- The transitions between statuses. People and the daemon have different ones.
create function reconciler.next_action_statuses(p_status text, p_daemon boolean) returns text[]
    language sql immutable as
$$
    select case p_status
        when 'open' then case when p_daemon then array['not_needed', 'superseded', 'returned', 'dismissed']
                              else array['in_progress', 'done', 'dismissed', 'returned'] end
        when 'in_progress' then case when p_daemon then array['not_needed', 'superseded', 'dismissed']
                                     else array['open', 'done', 'dismissed', 'returned'] end
        when 'done' then case when p_daemon
                              then array['open', 'verified', 'attested', 'superseded', 'dismissed']
                              else array['open', 'in_progress', 'dismissed'] end
        else array[]::text[]
    end
$$;

-- A person at the command line, who gives a name under the daemon's login, is the same person as the login of that
-- name.
create function reconciler.is_same_person(p_one text, p_other text) returns boolean
    language sql immutable as
$$
    select regexp_replace(p_one, '^cli:', '') = regexp_replace(p_other, '^cli:', '')
$$;

-- Only the person who made a statement may withdraw it, and only until it was judged: after that the action has ended
-- or is open again.
create function reconciler.refuse_foreign_withdrawal(a reconciler.manual_actions) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if not reconciler.is_same_person(a.done_by, reconciler.current_actor()) then
        raise exception 'manual action % was marked done by % at %: only they can withdraw that', a.id, a.done_by,
                        reconciler.moment(a.done_at)
            using errcode = 'P0403',
                  hint = 'If it must not be done, dismiss it with a note.';
    end if;
end
$$;

-- The assignee keeps an action until they hand it over or release it, or somebody takes it over with a reason.
create function reconciler.refuse_foreign_claim(a reconciler.manual_actions) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if not reconciler.is_same_person(a.assignee, reconciler.current_actor()) then
        raise exception 'manual action % is in progress: % has worked on it since %', a.id, a.assignee,
                        reconciler.moment(a.assigned_at)
            using errcode = 'P0403',
                  hint = format('To take it over: select reconciler.claim_action(%s, ''why'')', a.id);
    end if;
end
$$;

-- A reason must be given in the same statement: a note that was written before does not count.
create function reconciler.refuse_without_reason(a reconciler.manual_actions, p_status text, p_note text,
                                                 p_note_at timestamptz)
    returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if btrim(coalesce(p_note, '')) = '' or p_note_at is not distinct from a.note_at then
        raise exception 'a manual action becomes % only with a note that says why, and action % has %', p_status, a.id,
                        case when btrim(coalesce(p_note, '')) = '' then 'none' else 'only one from before' end
            using errcode = 'check_violation',
                  hint = format('update reconciler.manual_actions set status = %L, note = ''...'' where id = %s',
                                p_status, a.id);
    end if;
    if p_status = 'returned' and a.operation = 'reconnect' then
        raise exception 'manual action % asks to fix a login, which automation cannot do', a.id
            using errcode = 'P0409',
                  hint = 'Mark it done once the login is fixed.';
    end if;
end
$$;

create function reconciler.guard_action_status() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_by_daemon boolean := reconciler.is_daemon();
    allowed text[] := reconciler.next_action_statuses(old.status, v_by_daemon);
begin
    if old.status in ('verified', 'attested') and new.status in ('open', 'in_progress') then
        raise exception 'manual action % was judged at %: it is %, and the word of % cannot be withdrawn any more',
                        old.id, reconciler.moment(old.verdict_at), old.status, old.done_by
            using errcode = 'P0410';
    end if;
    if new.status is distinct from old.status and not (new.status = any (allowed)) or old.closed_at is not null then
        raise exception 'manual action % is % and cannot become %', old.id, old.status, coalesce(new.status, 'null')
            using errcode = 'P0409',
                  hint = case when allowed = '{}' then 'This action has ended.'
                              else 'From ' || old.status || ' it can become: ' || array_to_string(allowed, ', ') || '.' end;
    end if;
    if old.status = 'done' and new.status in ('open', 'in_progress') and not v_by_daemon then
        perform reconciler.refuse_foreign_withdrawal(old);
    elsif old.status = 'in_progress' and new.status = 'open' then
        perform reconciler.refuse_foreign_claim(old);
    elsif new.status <> old.status and new.status in ('dismissed', 'returned') then
        perform reconciler.refuse_without_reason(old, new.status, new.note, new.note_at);
    end if;
    -- Only the functions that claim and hand over also write the time, which no role may write.
    if new.assignee is distinct from old.assignee and new.assigned_at is not distinct from old.assigned_at
       and not (new.assignee is null and new.status = 'open')
       and not (new.status = 'in_progress' and old.status <> 'in_progress'
                and reconciler.is_same_person(new.assignee, reconciler.current_actor())) then
        raise exception 'the assignee of manual action % is set by claiming it or handing it over', old.id
            using errcode = 'P0403',
                  hint = format('select reconciler.hand_over_action(%s, %L, ''why'')', old.id, new.assignee);
    end if;
    return new;
end
$$;

-- Fills in what nobody may write: who, and when.
create function reconciler.stamp_action() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    v_is_withdrawn boolean := old.status = 'done' and new.status in ('open', 'in_progress')
                              and not reconciler.is_daemon();
begin
    if old.status = 'done' and new.status in ('open', 'in_progress') or new.status = 'done' then
        new.done_by := case when new.status = 'done' then reconciler.current_actor() end;
        new.done_at := case when new.status = 'done' then clock_timestamp() end;
        new.confirmed_by := null;
        new.confirmed_at := null;
    end if;
    if v_is_withdrawn or new.status = 'done' then
        new.verdict := null;
        new.verdict_at := null;
        new.snapshots := 0;
        new.sync_id := null;
        new.snapshot_hash := null;
        new.snapshot_started_at := null;
    end if;
    if new.status = 'in_progress' and new.assigned_at is not distinct from old.assigned_at then
        new.assignee := reconciler.current_actor();
        new.assigned_at := clock_timestamp();
    elsif new.status = 'open' and (v_is_withdrawn or old.status = 'in_progress') then
        new.assignee := null;
        new.assigned_at := null;
    elsif new.status = 'open' then
        new.reopened_count := old.reopened_count + 1;
    end if;
    if new.status not in ('open', 'in_progress', 'done') then
        new.closed_at := clock_timestamp();
    end if;
    return new;
end
$$;

-- A person who sets a status that the action already has may be about to repeat or overwrite a colleague's claim or
-- statement, which is refused. Repeating one's own statement changes nothing. The daemon sets the same status when it
-- judges.
create function reconciler.guard_repeated_status() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if reconciler.is_daemon() then
        return new;
    end if;
    if old.status = 'in_progress' then
        perform reconciler.refuse_foreign_claim(old);
    elsif old.status = 'done' and not reconciler.is_same_person(old.done_by, reconciler.current_actor()) then
        raise exception 'manual action % was marked done before: by % at %', old.id, old.done_by,
                        reconciler.moment(old.done_at)
            using errcode = 'P0409';
    end if;
    return new;
end
$$;

-- A note with the same text as before also counts as new: the trigger fires whenever a statement writes the column.
create function reconciler.date_note() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    new.note_at := case when new.note is not null then clock_timestamp() end;
    return new;
end
$$;

-- The instructions contain the command that marks the action done, and so its id, which only exists after the insert.
create function reconciler.number_instructions() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    new.instructions := replace(new.instructions, '{action}', new.id::text);
    new.shown := replace(new.shown::text, '{action}', new.id::text)::jsonb;
    return new;
end
$$;

create trigger instructions_name_the_action
    before insert on reconciler.manual_actions
    for each row execute function reconciler.number_instructions();

-- What an action says about the member, the app and the work must stay what the person was shown.
create function reconciler.refuse_rewriting_action() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    raise exception 'what manual action % says and about whom cannot be changed', old.id
        using errcode = 'insufficient_privilege';
end
$$;

create trigger what_actions_say_stays
    before update of id, operation, workspace_id, integration_id, integration_name, integration_kind, application,
                     member_id, member_email, member_username, member_name, entitlements, trigger, reason, failure_code,
                     failure_message, failure_screenshot_url, attempts, instructions, shown, opened_at, task_id
    on reconciler.manual_actions
    for each row execute function reconciler.refuse_rewriting_action();
create trigger actions_are_deleted_by_retention_only
    before delete or truncate on reconciler.manual_actions
    for each statement execute function reconciler.refuse_deletion();

-- Triggers run in the order of their names.
create trigger a_notes_are_dated
    before update of note on reconciler.manual_actions
    for each row execute function reconciler.date_note();
create trigger b_changes_are_guarded
    before update on reconciler.manual_actions
    for each row execute function reconciler.guard_action_status();
create trigger c_repeated_statuses_are_guarded
    before update of status on reconciler.manual_actions
    for each row when (old.status = new.status) execute function reconciler.guard_repeated_status();
create trigger d_changes_are_stamped
    before update on reconciler.manual_actions
    for each row when (old.status <> new.status) execute function reconciler.stamp_action();

-- Every change of an action is recorded in the trail, and the daemon does what follows from it: the statement of a
-- person only appends and waits for nobody. The triggers run once for each statement, however many rows it changes.
-- They join by hashing also in sessions of the daemon, where hash joins are off.
create function reconciler.record_opened_actions() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'action.opened', n.workspace_id, 'action', n.id::text,
           jsonb_strip_nulls(jsonb_build_object(
               'task_id', n.task_id, 'operation', n.operation, 'to', n.status, 'reason', n.reason, 'due_at', n.due_at,
               'shown', n.shown || jsonb_build_object(
                   'sha256', encode(sha256(convert_to(n.instructions, 'UTF8')), 'hex'))))
    from new_rows n;
    return null;
end
$$;

create trigger opened_actions_are_recorded
    after insert on reconciler.manual_actions
    referencing new table as new_rows
    for each statement execute function reconciler.record_opened_actions();

create function reconciler.record_action_changes() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set enable_hashjoin = on set plan_cache_mode = auto as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'action.' || case when n.reopened_count > o.reopened_count then 'contradicted'
                             when o.status = 'done' and n.status in ('open', 'in_progress') then 'withdrawn'
                             when n.status = 'in_progress' and n.assigned_at is distinct from o.assigned_at
                                 then case when reconciler.is_same_person(n.assignee, reconciler.current_actor()) then 'claimed'
                                           else 'handed_over' end
                             when o.status = 'in_progress' and n.status = 'open' then 'released'
                             when o.status <> n.status then n.status
                             when n.confirmed_at is distinct from o.confirmed_at then 'confirmed'
                             when o.snapshots <> n.snapshots then 'judged'
                             when o.due_at <> n.due_at then 'put_off'
                             when n.reminded_at is distinct from o.reminded_at then 'overdue'
                             else 'noted' end,
           n.workspace_id, 'action', n.id::text,
           jsonb_strip_nulls(jsonb_build_object(
               'task_id', n.task_id, 'operation', n.operation, 'from', o.status, 'to', n.status,
               'assignee', n.assignee,
               'assignee_before', nullif(o.assignee, n.assignee), 'note', n.note,
               'done_by', case when n.closed_at is null then coalesce(n.done_by, o.done_by) else n.done_by end,
               'done_at', case when n.closed_at is null then coalesce(n.done_at, o.done_at) else n.done_at end,
               'confirmed_by', n.confirmed_by,
               'verdict', n.verdict, 'observed', case when n.verdict is not null then n.observed end,
               'sync_id', case when n.verdict is not null then n.sync_id end,
               'snapshot_hash', case when n.verdict is not null then n.snapshot_hash end,
               'snapshot_started_at', case when n.verdict is not null then n.snapshot_started_at end,
               'due_at', case when n.due_at <> o.due_at or n.reminded_at is distinct from o.reminded_at then n.due_at end,
               'due_before', nullif(o.due_at, n.due_at)))
    from new_rows n join old_rows o using (id, workspace_id)
    where o.status <> n.status or o.assignee is distinct from n.assignee or o.note_at is distinct from n.note_at
       or o.verdict is distinct from n.verdict or o.snapshots <> n.snapshots
       or o.confirmed_at is distinct from n.confirmed_at
       or o.due_at <> n.due_at or o.reminded_at is distinct from n.reminded_at;
    insert into reconciler.nudges (workspace_id, integration_id, what, action_id)
    select n.workspace_id, n.integration_id, case when n.closed_at is null then 'done' else 'ended' end, n.id
    from new_rows n join old_rows o using (id, workspace_id)
    where o.status <> n.status and (n.status = 'done' or n.closed_at is not null)
       or o.confirmed_at is null and n.confirmed_at is not null;
    if found then
        perform pg_notify('reconciler', 'nudges');
    end if;
    return null;
end
$$;

create trigger action_changes_are_recorded
    after update on reconciler.manual_actions
    referencing old table as old_rows new table as new_rows
    for each statement execute function reconciler.record_action_changes();

-- Only retention deletes actions, and it records what it deleted. The lines of the trail about them stay, because they
-- name nobody.
create function reconciler.delete_ended_actions(p_older_than interval, p_limit integer) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp set reconciler.retention = 'on' as
$$
declare
    v_deleted bigint;
begin
    if p_older_than < interval '1 day' then
        raise exception 'ended actions are kept for at least a day, not %', p_older_than
            using errcode = 'check_violation';
    end if;
    with old as materialized (
        select ctid as place from reconciler.manual_actions
        where closed_at < clock_timestamp() - p_older_than
        order by closed_at
        limit p_limit
        for update skip locked
    ), deleted as (
        delete from reconciler.manual_actions a using old where a.ctid = old.place
        returning a.id, a.workspace_id, a.status
    ), recorded as (
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        select 'action.deleted', workspace_id, 'action', id::text, jsonb_build_object('status', status) from deleted
    )
    select count(*) into v_deleted from deleted;
    return v_deleted;
end
$$;
