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
    state          text        not null default 'waiting',
    decided_at     timestamptz,
    primary key (id, workspace_id),
    foreign key (workspace_id, integration_id) references reconciler.integrations,
    constraint state_is_waiting_released_or_stopped check (state in ('waiting', 'released', 'stopped')),
    constraint returns_have_a_reason check (btrim(reason) <> '')
);

create index returns_by_state on reconciler.returns (id) where state = 'waiting';

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

-- Decides one return whose canary has ended: it worked, and the rest follows as the ramp allows; or it did not, and
-- the rest stays with people. A canary that a later intent overtook proves nothing: the next one is sent.
create function reconciler.decide_return()
    returns table (return_id bigint, integration_id text, decision text, actions integer)
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
#variable_conflict use_column
declare
    r record;
    v_left bigint[];
    v_task bigint;
begin
    for r in
        select w.*, t.state as task_state
        from reconciler.returns w
        join reconciler.automation_tasks t on t.id = w.canary_task_id and t.workspace_id = w.workspace_id
        where w.state = 'waiting' and t.closed_at is not null
        order by w.id
        limit 1
        for no key update of w skip locked
    loop
        select coalesce(array_agg(a.id order by a.opened_at, a.id), '{}') into v_left
        from (select m.id, m.opened_at from reconciler.manual_actions m
              where m.workspace_id = r.workspace_id and m.id = any (r.rest) and m.status = 'open'
              order by m.id for no key update) a;
        if r.task_state in ('superseded', 'cancelled') and v_left <> '{}' then
            update reconciler.manual_actions set status = 'returned', note = r.reason
            where id = v_left[1] returning task_id into v_task;
            update reconciler.returns set canary_task_id = v_task, rest = v_left[2:]
            where id = r.id and workspace_id = r.workspace_id;
            continue;
        end if;
        decision := case when r.task_state = 'escalated' then 'stopped' else 'released' end;
        if decision = 'released' then
            update reconciler.manual_actions set status = 'returned', note = r.reason where id = any (v_left);
            update reconciler.integrations set ramp_limit = 1
            where workspace_id = r.workspace_id and integration_id = r.integration_id
              and status = 'active' and v_left <> '{}';
        end if;
        update reconciler.returns set state = decision, decided_at = clock_timestamp()
        where id = r.id and workspace_id = r.workspace_id;
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        values ('integration.return_' || decision, r.workspace_id, 'integration', r.integration_id,
                jsonb_build_object('return', r.id, 'actions', cardinality(v_left)));
        return_id := r.id;
        integration_id := r.integration_id;
        actions := cardinality(v_left);
        return next;
    end loop;
end
$$;
