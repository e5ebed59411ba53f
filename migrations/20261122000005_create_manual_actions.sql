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
    due_at                 timestamptz not null,
    opened_at              timestamptz not null default clock_timestamp(),
    reminded_at            timestamptz,
    assignee               text,
    note                   text,
    done_by                text,
    done_at                timestamptz,
    verdict                text,
    verdict_at             timestamptz,
    observed               text,
    snapshots              integer     not null default 0,
    reopened_count         integer     not null default 0,
    closed_at              timestamptz,
    task_id                bigint      not null,
    primary key (id, workspace_id),
    constraint status_is_known check (status in
        ('open', 'in_progress', 'done', 'verified', 'attested', 'not_needed', 'dismissed', 'superseded', 'returned')),
    constraint operation_is_invite_remove_change_role_or_reconnect
        check (operation in ('invite', 'remove', 'change_role', 'reconnect')),
    constraint only_reconnect_is_about_no_member check ((operation = 'reconnect') = (member_id = '')),
    constraint verdict_is_known check (verdict in ('confirmed', 'not_yet', 'contradicted', 'unverifiable')),
    constraint done_actions_say_who_and_when
        check (status not in ('done', 'verified', 'attested') or (done_by is not null and done_at is not null)),
    constraint verified_actions_are_confirmed
        check (status <> 'verified' or (verdict = 'confirmed' and verdict_at > done_at)),
    constraint ended_actions_say_when check ((status in ('open', 'in_progress', 'done')) = (closed_at is null))
) with (fillfactor = 70);

comment on table reconciler.manual_actions is
    'What a person has to do in an app, with instructions, deadline and verdict. Mark one done with: '
    'update reconciler.manual_actions set status = ''done'', note = ''...'' where id = ...';
comment on column reconciler.manual_actions.observed is 'What the latest snapshot showed of this member.';

-- One escalation per wanted state: retries, crashes and replicas cannot open a second one.
create unique index one_unfinished_action_per_member
    on reconciler.manual_actions (workspace_id, integration_id, member_id)
    where status in ('open', 'in_progress', 'done');
-- Neither due times nor members are ever null; said here, it keeps whoever looks for something else out of these indexes.
create index actions_by_due_time
    on reconciler.manual_actions (due_at) where status in ('open', 'in_progress', 'done') and due_at is not null;
create index done_actions_of_an_integration
    on reconciler.manual_actions (workspace_id, integration_id) where status = 'done';
create index actions_of_a_member
    on reconciler.manual_actions (workspace_id, integration_id, member_id, closed_at) where member_id is not null;
create index action_of_a_task on reconciler.manual_actions (task_id);

-- The oldest waiting task of a member gets its turn, if nothing unfinished is ahead of it.
-- Each statement of a plpgsql function has its own snapshot, so rows that were ordered while the caller's
-- first statement waited for a lock are seen here (the lost wake-up of solid_queue#456).
create function reconciler.promote_waiting(p_workspace_id text, p_integration_id text, p_member_id text)
    returns boolean
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    with promoted as (
        update reconciler.turns t
        set turn = 'head',
            next_attempt_at = greatest(t.next_attempt_at, clock_timestamp(),
                                       reconciler.acted_until(p_workspace_id, p_integration_id, p_member_id))
        where t.workspace_id = p_workspace_id
          and t.task_id = (select w.task_id
                           from reconciler.turns w
                           where w.workspace_id = p_workspace_id and w.integration_id = p_integration_id
                             and w.member_id = p_member_id and w.turn = 'waiting'
                           order by w.requested_at, w.task_id
                           limit 1)
          and not exists (select from reconciler.turns h
                          where h.workspace_id = p_workspace_id and h.integration_id = p_integration_id
                            and h.member_id = p_member_id and h.turn = 'head')
          and not exists (select from reconciler.manual_actions a
                          where a.workspace_id = p_workspace_id and a.integration_id = p_integration_id
                            and a.member_id = p_member_id and a.status in ('open', 'in_progress', 'done'))
        returning t.task_id, t.workspace_id, t.next_attempt_at
    )
    update reconciler.automation_tasks t
    set next_attempt_at = promoted.next_attempt_at
    from promoted
    where t.id = promoted.task_id and t.workspace_id = promoted.workspace_id;
    if found then
        perform pg_notify('reconciler', 'tasks');
    end if;
    return found;
end
$$;

-- Locks whatever of these members could change under the caller: actions before tasks and heads before waiting rows, the
-- order in which everybody else takes them, so that nobody deadlocks. The second statement sees the tasks that an action
-- gave back while the first waited for it.
create function reconciler.lock_members(p_workspace_ids text[], p_integration_ids text[], p_member_ids text[])
    returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    perform locked.id
    from (select a.id
          from unnest(p_workspace_ids, p_integration_ids, p_member_ids) k (workspace_id, integration_id, member_id)
          cross join lateral (
              select * from reconciler.manual_actions a
              where a.workspace_id = k.workspace_id and a.integration_id = k.integration_id
                and a.member_id = k.member_id and a.status in ('open', 'in_progress', 'done')
              offset 0
          ) a
          order by a.id) known
    cross join lateral (
        select a.id from reconciler.manual_actions a where a.id = known.id
        for no key update
        offset 0
    ) locked;

    perform locked.task_id
    from (select h.*
          from unnest(p_workspace_ids, p_integration_ids, p_member_ids) k (workspace_id, integration_id, member_id)
          cross join lateral (
              select task_id, workspace_id, turn from reconciler.turns h
              where h.workspace_id = k.workspace_id and h.integration_id = k.integration_id
                and h.member_id = k.member_id and h.turn = 'head'
              union all
              select task_id, workspace_id, turn from reconciler.turns w
              where w.workspace_id = k.workspace_id and w.integration_id = k.integration_id
                and w.member_id = k.member_id and w.turn = 'waiting'
          ) h
          order by h.turn, h.task_id) known
    cross join lateral (
        select t.task_id from reconciler.turns t
        where t.task_id = known.task_id and t.workspace_id = known.workspace_id
        for no key update
        offset 0
    ) locked;
end
$$;

-- Which status may follow which. People and the daemon have different arrows.
create function reconciler.next_action_statuses(p_status text, p_daemon boolean) returns text[]
    language sql immutable set search_path = pg_catalog, pg_temp as
$$
    select case p_status
        when 'open' then case when p_daemon then array['not_needed', 'superseded', 'returned']
                              else array['in_progress', 'done', 'dismissed', 'returned'] end
        when 'in_progress' then case when p_daemon then array['not_needed', 'superseded']
                                     else array['open', 'done', 'dismissed', 'returned'] end
        when 'done' then case when p_daemon
                              then array['open', 'verified', 'attested', 'superseded']
                              else array['dismissed'] end
        else array[]::text[]
    end
$$;

create function reconciler.guard_action() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
declare
    allowed text[] := reconciler.next_action_statuses(old.status, reconciler.is_daemon());
begin
    if new.status is distinct from old.status and not (new.status = any (allowed)) or old.closed_at is not null then
        raise exception 'manual action % is % and cannot become %', old.id, old.status, coalesce(new.status, 'null')
            using errcode = 'check_violation',
                  hint = case when allowed = '{}' then 'This action has ended.'
                              else 'From ' || old.status || ' it can become: ' || array_to_string(allowed, ', ') || '.' end;
    end if;
    if new.status = old.status then
        return new;
    end if;
    case new.status
        when 'in_progress' then
            new.assignee := coalesce(new.assignee, reconciler.current_actor());
        when 'done' then
            new.done_by := reconciler.current_actor();
            new.done_at := clock_timestamp();
            new.verdict := null;
            new.verdict_at := null;
            new.snapshots := 0;
        when 'open' then
            if old.status = 'done' then
                new.reopened_count := old.reopened_count + 1;
                new.done_by := null;
                new.done_at := null;
            else
                new.assignee := null;
            end if;
        when 'dismissed', 'returned' then
            if btrim(coalesce(new.note, '')) = '' then
                raise exception 'a manual action becomes % only with a note that says why, and action % has none',
                                new.status, old.id
                    using errcode = 'check_violation',
                          hint = format('update reconciler.manual_actions set status = %L, note = ''...'' where id = %s',
                                        new.status, old.id);
            end if;
            if new.status = 'returned' and new.operation = 'reconnect' then
                raise exception 'manual action % asks to fix a login, which automation cannot do', old.id
                    using errcode = 'check_violation',
                          hint = 'Mark it done once the login is fixed.';
            end if;
        else
            null;
    end case;
    if new.status not in ('open', 'in_progress', 'done') then
        new.closed_at := clock_timestamp();
    end if;
    return new;
end
$$;

-- The instructions name the command that marks the action done, and so its id, which only the table gives.
create function reconciler.number_instructions() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    new.instructions := replace(new.instructions, '{action}', new.id::text);
    return new;
end
$$;

create trigger instructions_name_the_action
    before insert on reconciler.manual_actions
    for each row execute function reconciler.number_instructions();

create trigger action_changes_are_guarded
    before update on reconciler.manual_actions
    for each row execute function reconciler.guard_action();

-- Back to automation: the task has all its attempts again, and its turn by when it was wanted.
create function reconciler.reopen_task(p_workspace_id text, p_task_id bigint, p_reason text) returns void
    language sql set search_path = pg_catalog, pg_temp as
$$
    with reopened as (
        update reconciler.automation_tasks
        set state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), tried_since = null,
            closed_at = null, closed_reason = null, returned_at = clock_timestamp()
        where id = p_task_id and workspace_id = p_workspace_id and state = 'escalated'
        returning id, workspace_id, integration_id, member_id, requested_at, next_attempt_at
    ), queued as (
        insert into reconciler.turns
            (task_id, workspace_id, integration_id, member_id, requested_at, next_attempt_at, turn)
        select id, workspace_id, integration_id, member_id, requested_at, next_attempt_at, 'waiting' from reopened
    )
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'task.returned', workspace_id, 'task', id::text, jsonb_build_object('reason', p_reason) from reopened
$$;

create function reconciler.record_action() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    changed boolean := tg_op = 'INSERT' or old.status is distinct from new.status;
    reopened boolean := tg_op = 'UPDATE' and new.reopened_count > old.reopened_count;
begin
    if not changed and old.assignee is not distinct from new.assignee and old.note is not distinct from new.note
       and old.verdict is not distinct from new.verdict and old.snapshots = new.snapshots then
        return null;
    end if;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('action.' || case when tg_op = 'INSERT' then 'opened'
                              when reopened then 'contradicted'
                              when changed then new.status
                              when old.snapshots <> new.snapshots then 'judged'
                              else 'noted' end,
            new.workspace_id, 'action', new.id::text,
            jsonb_strip_nulls(jsonb_build_object(
                'task_id', new.task_id, 'operation', new.operation,
                'from', case when tg_op = 'UPDATE' then old.status end, 'to', new.status,
                'reason', case when tg_op = 'INSERT' then new.reason end,
                'assignee', new.assignee, 'note', new.note, 'done_by', new.done_by, 'done_at', new.done_at,
                'verdict', new.verdict, 'observed', case when new.verdict is not null then new.observed end)));
    if changed and new.status = 'done' then
        perform reconciler.request_sync(new.workspace_id, new.integration_id, clock_timestamp(), 'done');
    elsif changed and new.closed_at is not null and new.operation = 'reconnect' then
        update reconciler.integrations set status = 'active'
        where workspace_id = new.workspace_id and integration_id = new.integration_id and status = 'login_rejected';
    elsif changed and new.closed_at is not null then
        if new.status = 'returned' then
            perform reconciler.reopen_task(new.workspace_id, new.task_id, new.note);
        end if;
        perform reconciler.promote_waiting(new.workspace_id, new.integration_id, new.member_id);
    end if;
    return null;
end
$$;

create trigger action_changes_are_recorded
    after insert or update on reconciler.manual_actions
    for each row execute function reconciler.record_action();

create function reconciler.record_status_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('integration.status_changed', new.workspace_id, 'integration', new.integration_id,
            jsonb_strip_nulls(jsonb_build_object('from', old.status, 'to', new.status, 'reason', new.status_reason,
                                                 'until', new.status_until, 'probe', new.probe_task_id)));
    if new.status = 'active' then
        perform pg_notify('reconciler', 'tasks');
    end if;
    -- Who resumes an integration answers for its login: the next refusal asks again.
    if new.status = 'active' and old.status = 'login_rejected' then
        update reconciler.manual_actions
        set status = 'dismissed', note = coalesce(nullif(btrim(note), ''), 'the integration was resumed by hand')
        where workspace_id = new.workspace_id and integration_id = new.integration_id and member_id = ''
          and status in ('open', 'in_progress', 'done');
    end if;
    return null;
end
$$;

create trigger status_changes_are_recorded
    after update of status on reconciler.integrations
    for each row when (old.status is distinct from new.status)
    execute function reconciler.record_status_change();

create function reconciler.record_integration_settings() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('integration.set', new.workspace_id, 'integration', new.integration_id,
            jsonb_build_object('max_in_flight', new.max_in_flight, 'starts_per_minute', new.starts_per_minute,
                               'own_account', new.own_account, 'administrator_roles', new.administrator_roles,
                               'snapshot_every_s', new.snapshot_every_s));
    return null;
end
$$;

create trigger integration_settings_are_recorded
    after update of max_in_flight, starts_per_minute, own_account, administrator_roles, snapshot_every_s
    on reconciler.integrations
    for each row when ((old.max_in_flight, old.starts_per_minute, old.own_account, old.administrator_roles,
                        old.snapshot_every_s)
                       is distinct from
                       (new.max_in_flight, new.starts_per_minute, new.own_account, new.administrator_roles,
                        new.snapshot_every_s))
    execute function reconciler.record_integration_settings();
