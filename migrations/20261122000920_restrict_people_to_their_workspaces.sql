-- Row-level security: people see and change the rows of their own workspaces. The policy of the daemon and of the backend
-- is a constant, which costs their statements nothing.
--
-- Views and `security definer` functions act as their owner, for whom the policies of people would not hold (and
-- PostgreSQL 14 has no views that act as the caller). So those that people can reach belong to a role of their own, which
-- owns no table: the policies of people hold for it, too, and they ask for the session and not for the role. Only
-- functions of triggers stay with the owner of the tables: they write about rows that the statement could already change.
do $$
declare
    object text;
begin
    for object in
        select format('%I.%I', 'reconciler', table_name) from information_schema.columns
        where table_schema = 'reconciler' and column_name = 'workspace_id'
          and table_name in (select tablename from pg_tables where schemaname = 'reconciler')
    loop
        execute format('alter table %s enable row level security', object);
        execute format('create policy all_workspaces on %s to reconciler_daemon, reconciler_backend using (true)', object);
        execute format('create policy own_workspaces on %s to reconciler_viewer, reconciler_operator, reconciler_definer '
                       'using (coalesce(workspace_id = any ((select reconciler.own_workspaces())::text[]), true))', object);
    end loop;
    -- A new owner has to be one that may create objects here; nobody can act as this role.
    grant create on schema reconciler to reconciler_definer;
    for object in
        select format('view reconciler.%I', viewname) from pg_views where schemaname = 'reconciler'
        union all
        select 'function ' || p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'reconciler'::regnamespace and p.prosecdef
          and (p.prorettype <> 'trigger'::regtype or p.proname = 'set_integration')
          and p.proname not in ('own_workspaces', 'delete_old_events', 'delete_ended_actions')
    loop
        execute format('alter %s owner to reconciler_definer', object);
    end loop;
    revoke create on schema reconciler from reconciler_definer;
end
$$;

grant usage on schema reconciler to reconciler_definer;

grant select on all tables in schema reconciler to reconciler_definer;

revoke select on reconciler.tokens, reconciler.replies, reconciler.sessions, reconciler.used_sign_ins from reconciler_definer;

grant select (name, role, workspaces, created_by, revoked_at, expires_at) on reconciler.tokens to reconciler_definer;

grant execute on all functions in schema reconciler to reconciler_definer;

-- What the functions for people write.
grant insert on reconciler.nudges, reconciler.returns to reconciler_definer;

grant insert (what, workspace_id, subject, subject_id, detail) on reconciler.events to reconciler_definer;

grant update (status, note, assignee, assigned_at, confirmed_by, confirmed_at, screen_changed_at, screen_changed_by,
              screen_changed_note)
    on reconciler.manual_actions
    to reconciler_definer;

grant update (paused_reason, paused_at, kind, application, max_in_flight, starts_per_minute, own_account,
              administrator_roles, snapshot_every_s, four_eyes, loosened_at)
    on reconciler.integration_settings to reconciler_definer;

grant update (ended_at, outcome, dismissed_by, dismiss_reason) on reconciler.webhook_events to reconciler_definer;

grant delete on reconciler.saved_views to reconciler_definer;

grant execute on function reconciler.own_workspaces()
    to reconciler_viewer, reconciler_operator, reconciler_daemon, reconciler_backend;

-- An administrator decides who else may act, as far as their own workspaces reach: a token that reaches further would be a
-- way to what they may not see. Who and when are stamped, and nothing of a token changes but its end.
alter table reconciler.tokens enable row level security;

create policy all_tokens on reconciler.tokens to reconciler_daemon, reconciler_definer using (true);

create policy tokens_within_own_workspaces on reconciler.tokens to reconciler_administrator
    using (coalesce(workspaces <@ (select reconciler.own_workspaces()), (select reconciler.own_workspaces()) is null));

-- The same for logins. A login without a row sees all, so that only who sees all may delete a row.
alter table reconciler.login_workspaces enable row level security;

create policy all_logins on reconciler.login_workspaces to reconciler_definer using (true);

create policy logins_within_own_workspaces on reconciler.login_workspaces to reconciler_administrator
    using (coalesce(workspaces <@ (select reconciler.own_workspaces()), (select reconciler.own_workspaces()) is null));

create policy unbound_by_who_sees_all on reconciler.login_workspaces as restrictive for delete
    to reconciler_administrator using ((select reconciler.own_workspaces()) is null);

grant usage on schema reconciler to reconciler_administrator;

grant select, insert (name, role, workspaces, hash, expires_at), update (revoked_at) on reconciler.tokens
    to reconciler_administrator;

grant select, insert (login, workspaces), update (login, workspaces), delete on reconciler.login_workspaces
    to reconciler_administrator;

grant update (last_used_at) on reconciler.tokens to reconciler_daemon;

-- People end sessions; the daemon starts, prolongs and forgets them, and ends those of a person whose access has changed. Nobody changes who it is or what they may do.
grant select (id, actor, email, role, workspaces, started_at, last_seen_at, idle_until, expires_at, ended_at, ended_by),
      update (ended_at)
    on reconciler.sessions to reconciler_viewer, reconciler_operator;

grant select, insert (hash, actor, email, role, workspaces, idle_until, expires_at), update (last_seen_at, idle_until, ended_at), delete
    on reconciler.sessions to reconciler_daemon;

grant select, insert, update, delete on reconciler.replies to reconciler_daemon;

grant select, insert (hash), delete on reconciler.used_sign_ins to reconciler_daemon;

grant select, update (role), delete on reconciler.people to reconciler_daemon;

grant select on reconciler.people to reconciler_viewer, reconciler_operator;

-- A row that somebody is about to change as they saw it. The lock needs the privilege to update.
grant update (decision) on reconciler.syncs to reconciler_definer;

grant execute on function reconciler.expect_action(bigint, bigint), reconciler.expect_sync(bigint, bigint)
    to reconciler_operator, reconciler_daemon;
