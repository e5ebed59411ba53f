-- A refusal has a code, so that a program can tell the kinds apart: check_violation for invalid input, no_data_found
-- for a missing row, and three codes of our own: P0403 (another person may do this, but not this one), P0409 (the row
-- is not in a state that allows it), P0410 (too late).

-- Roles are cluster-wide: another database of the same server may have created them already.
do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'reconciler_daemon', 'reconciler_backend', 'reconciler_operator', 'reconciler_viewer'
    ] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                execute format('create role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then
                null; -- a migration of another database created it first
            when insufficient_privilege then
                raise exception 'role % does not exist and % may not create it', wanted, current_user
                    using hint = format('Let a role with CREATEROLE run: create role %I nologin;', wanted),
                          errcode = 'insufficient_privilege';
        end;
    end loop;
end
$$;

create schema if not exists reconciler;

-- The actor. The daemon sets its actor per transaction: itself or a person at the command line. Everyone else acts
-- under the name of their login, so nobody can write under the name of another login. The function has no search path
-- of its own, so that it is inlined: every line of the trail calls it.
create function reconciler.current_actor() returns text
    language sql stable as
$$
    select case
        when not pg_catalog.pg_has_role(session_user, 'reconciler_daemon', 'member') then session_user::text
        when pg_catalog.current_setting('reconciler.actor', true) = 'daemon' then 'daemon'
        else coalesce('cli:' || pg_catalog.regexp_replace(
                          nullif(pg_catalog.current_setting('reconciler.actor', true), ''), '^cli:', ''),
                      session_user::text)
    end
$$;

-- A time in the form that messages for people use.
create function reconciler.moment(p_at timestamptz) returns text
    language sql stable as
$$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"')
$$;

-- The function has no search path of its own, so that it is inlined: only functions that have one call it, once for
-- each row.
create function reconciler.is_daemon() returns boolean
    language sql stable as
$$
    select pg_has_role(session_user, 'reconciler_daemon', 'member')
       and coalesce(current_setting('reconciler.actor', true), '') = 'daemon'
$$;

create table reconciler.events (
    id           bigint generated always as identity,
    at           timestamptz not null default clock_timestamp(),
    actor        text        not null default reconciler.current_actor(),
    what         text        not null,
    workspace_id text collate "C" not null,
    subject      text collate "C" not null,
    subject_id   text collate "C" not null,
    detail       jsonb       not null default '{}',
    primary key (id, workspace_id),
    constraint subject_is_task_action_sync_integration_or_workspace
        check (subject in ('task', 'action', 'sync', 'integration', 'workspace')),
    constraint detail_is_an_object check (jsonb_typeof(detail) = 'object')
);

create index events_of_a_subject on reconciler.events (subject_id, id);
-- Rows stay in the order in which they were appended, so a small index on ranges of pages finds a time.
create index events_by_time on reconciler.events using brin (at) with (pages_per_range = 16);

comment on table reconciler.events is
    'What happened to every row, append-only: who, when, what, why.';

create function reconciler.refuse_rewriting_history() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    raise exception 'events are append-only: % is refused', lower(tg_op)
        using errcode = 'insufficient_privilege';
end
$$;

create trigger events_are_never_changed
    before update or truncate on reconciler.events
    for each statement execute function reconciler.refuse_rewriting_history();

-- Only retention may delete, which also binds the owner of the tables: its functions set this parameter while they run.
create function reconciler.refuse_deletion() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if coalesce(current_setting('reconciler.retention', true), '') <> 'on' then
        raise exception 'rows of % are deleted by retention only', tg_table_name
            using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;

create trigger events_are_deleted_by_retention_only
    before delete on reconciler.events
    for each statement execute function reconciler.refuse_deletion();

-- Records the ids of deleted rows in the trail, with one line for each statement and workspace.
create function reconciler.record_deletions() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'workspace.rows_deleted', workspace_id, 'workspace', workspace_id,
           jsonb_build_object('table', tg_table_name, 'rows', count(*), 'ids', jsonb_agg(id order by id))
    from old_rows group by workspace_id;
    return null;
end
$$;

-- The same for members, which have no id: how many of which integration were deleted.
create function reconciler.record_forgotten_members() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'workspace.rows_deleted', workspace_id, 'workspace', workspace_id,
           jsonb_build_object('table', tg_table_name, 'rows', sum(rows), 'integrations',
                              jsonb_object_agg(integration_id, rows))
    from (select workspace_id, integration_id, count(*) as rows from old_rows
          group by workspace_id, integration_id) gone
    group by workspace_id;
    return null;
end
$$;

-- Only retention deletes from the trail. It cannot delete recent lines, and it records what it deleted. It does not
-- record the deletion of lines that are only such records.
create function reconciler.delete_old_events(p_older_than interval, p_limit integer) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp set reconciler.retention = 'on' as
$$
declare
    v_deleted bigint;
begin
    if p_older_than < interval '30 days' then
        raise exception 'events are kept for at least 30 days, not %', p_older_than
            using errcode = 'check_violation';
    end if;
    -- The lowest ids are the oldest lines, so nothing else is read, however long the trail is.
    with gone as (
        delete from reconciler.events e
        using (select ctid as place, at from reconciler.events order by id limit p_limit) lowest
        where e.ctid = lowest.place and lowest.at < clock_timestamp() - p_older_than
        returning e.id, e.workspace_id, e.what, e.at
    ), recorded as (
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        select 'workspace.rows_deleted', workspace_id, 'workspace', workspace_id,
               jsonb_build_object('table', 'events', 'rows', count(*), 'from_id', min(id), 'to_id', max(id),
                                  'from', min(at), 'to', max(at))
        from gone where what <> 'workspace.rows_deleted' group by workspace_id
    )
    select count(*) into v_deleted from gone;
    return v_deleted;
end
$$;

-- What people did and the daemon has not taken up yet. An insert does not wait for anybody and does not block anybody.
create table reconciler.nudges (
    id             bigint generated always as identity,
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    what           text        not null,
    action_id      bigint,
    task_id        bigint,
    reason         text,
    at             timestamptz not null default clock_timestamp(),
    not_before     timestamptz not null default '-infinity',
    primary key (id, workspace_id),
    constraint what_is_known check (what in ('done', 'ended', 'paused', 'unpaused', 'reset', 'snapshot', 'cancelled')),
    constraint nudges_of_actions_name_one check ((what in ('done', 'ended')) = (action_id is not null)),
    constraint cancellations_say_what_and_why
        check ((what = 'cancelled') = (task_id is not null) and (what = 'cancelled') = (reason is not null))
);

create index nudges_of_an_action on reconciler.nudges (action_id) where action_id is not null;
-- Shares nudges out between integrations, so that many of one do not delay those of another. Integrations are never
-- null; the condition keeps the planner from using this index to find a single nudge.
create index nudges_by_integration on reconciler.nudges (workspace_id, integration_id, id) where integration_id is not null;

comment on table reconciler.nudges is
    'What people did that the daemon has to act on: an action was marked done or has ended, an integration was paused '
    'or resumed, a snapshot was asked for, a task was cancelled.';

-- Work that one replica does at a time takes a lock on its row here. Any role can take an advisory lock, but only the
-- daemon can lock these rows.
create table reconciler.exclusive_work (name text primary key);
insert into reconciler.exclusive_work values ('intake'), ('nudges'), ('upkeep');
