-- Many actions go back to automation after a fix: one canary first, the rest when it has worked.
create table reconciler.returns (
    id             bigint generated always as identity,
    workspace_id   text collate "C" not null,
    integration_id text collate "C" not null,
    failure_code   text,
    operation      text,
    reason         text        not null,
    requested_by   text        not null default reconciler.current_actor(),
    requested_at   timestamptz not null default clock_timestamp(),
    canary_task_id bigint      not null,
    rest           bigint[]    not null,
    sent           integer     not null default 0,
    not_before     timestamptz not null default '-infinity',
    state          text        not null default 'waiting',
    decided_at     timestamptz,
    primary key (id, workspace_id),
    constraint state_is_known check (state in ('waiting', 'releasing', 'released', 'stopped')),
    constraint returns_have_a_reason check (btrim(reason) <> '')
);

create index undecided_returns on reconciler.returns (id) where state in ('waiting', 'releasing');

comment on table reconciler.returns is
    'Actions that go back to automation together: the canary''s task first; the rest are ids of actions that stay '
    'with people until it has worked.';

-- Which actions a return would take, the oldest first, which is the canary. A person at work on one keeps it.
create function reconciler.returnable_actions(p_workspace_id text, p_integration_id text, p_failure_code text,
                                              p_operation text)
    returns setof reconciler.manual_actions
    language sql stable set search_path = pg_catalog, pg_temp as
$$
    select a.* from reconciler.manual_actions a
    where a.workspace_id = p_workspace_id and a.integration_id = p_integration_id
      and a.status = 'open' and a.operation <> 'reconnect'
      and (p_failure_code is null or a.failure_code = p_failure_code)
      and (p_operation is null or a.operation = p_operation)
    order by a.opened_at, a.id
$$;

-- Sends the canary and keeps the rest in mind; the id of the return, or null if there is nothing to return.
create function reconciler.return_to_automation(p_workspace_id text, p_integration_id text, p_failure_code text,
                                                p_operation text, p_reason text)
    returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actions bigint[];
    v_task bigint;
    v_return bigint;
begin
    if btrim(coalesce(p_reason, '')) = '' then
        raise exception 'a return to automation needs a reason' using errcode = 'check_violation';
    end if;
    select array_agg(a.id) into v_actions
    from reconciler.returnable_actions(p_workspace_id, p_integration_id, p_failure_code, p_operation) a;
    if v_actions is null then
        return null;
    end if;
    update reconciler.manual_actions set status = 'returned', note = p_reason
    where id = v_actions[1] returning task_id into v_task;
    insert into reconciler.returns
        (workspace_id, integration_id, failure_code, operation, reason, canary_task_id, rest)
    values (p_workspace_id, p_integration_id, p_failure_code, p_operation, p_reason, v_task, v_actions[2:])
    returning id into v_return;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values ('integration.return_requested', p_workspace_id, 'integration', p_integration_id,
            jsonb_build_object('return', v_return, 'canary_task', v_task, 'actions', cardinality(v_actions),
                               'reason', p_reason));
    return v_return;
end
$$;
