-- A person claims an action: an open one, or, with a reason, one that a colleague works on.
create function reconciler.claim_action(p_action_id bigint, p_take_over_note text default null) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actor text := reconciler.current_actor();
    a reconciler.manual_actions;
begin
    select * into a from reconciler.manual_actions b where b.id = p_action_id for no key update;
    if not found then
        raise exception 'there is no manual action %', p_action_id using errcode = 'no_data_found';
    end if;
    if a.status not in ('open', 'in_progress') then
        raise exception 'manual action % is % and cannot be claimed', a.id, a.status using errcode = 'P0409';
    end if;
    if a.status = 'in_progress' and btrim(coalesce(p_take_over_note, '')) <> ''
       and not reconciler.is_same_person(a.assignee, v_actor) then
        update reconciler.manual_actions b
        set assignee = v_actor, assigned_at = clock_timestamp(), note = p_take_over_note
        where b.id = a.id and b.workspace_id = a.workspace_id;
    else
        update reconciler.manual_actions b set status = 'in_progress'
        where b.id = a.id and b.workspace_id = a.workspace_id;
    end if;
end
$$;

-- A person gives an action to a colleague: their own, or one that nobody works on.
create function reconciler.hand_over_action(p_action_id bigint, p_assignee text, p_note text) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    a reconciler.manual_actions;
begin
    select * into a from reconciler.manual_actions b where b.id = p_action_id for no key update;
    if not found then
        raise exception 'there is no manual action %', p_action_id using errcode = 'no_data_found';
    end if;
    if a.status not in ('open', 'in_progress') then
        raise exception 'manual action % is % and cannot be handed over', a.id, a.status
            using errcode = 'P0409';
    end if;
    if btrim(coalesce(p_assignee, '')) = '' or btrim(coalesce(p_note, '')) = '' then
        raise exception 'to hand over manual action %, say to whom, and why in a note', a.id
            using errcode = 'check_violation';
    end if;
    if a.status = 'in_progress' then
        perform reconciler.refuse_foreign_claim(a);
    end if;
    update reconciler.manual_actions b
    set status = 'in_progress', assignee = p_assignee, assigned_at = clock_timestamp(), note = p_note
    where b.id = a.id and b.workspace_id = a.workspace_id;
end
$$;

-- A second person confirms the statement of the first, where nothing else can prove it. The daemon then closes the
-- action.
create function reconciler.confirm_action(p_action_id bigint) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actor text := reconciler.current_actor();
    a reconciler.manual_actions;
begin
    select * into a from reconciler.manual_actions b where b.id = p_action_id for no key update;
    if not found then
        raise exception 'there is no manual action %', p_action_id using errcode = 'no_data_found';
    end if;
    if a.status <> 'done' then
        raise exception 'manual action % is %: only one that is marked done can be confirmed', a.id, a.status
            using errcode = 'P0409';
    end if;
    if not exists (select from reconciler.integration_settings s
                   where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id and s.four_eyes) then
        raise exception 'integration % asks for no second person', a.integration_id
            using errcode = 'P0409';
    end if;
    if reconciler.is_same_person(a.done_by, v_actor) then
        raise exception 'manual action % was marked done by %: somebody else has to confirm it', a.id, a.done_by
            using errcode = 'P0403';
    end if;
    if a.confirmed_at is not null then
        raise exception 'manual action % was confirmed by % at %', a.id, a.confirmed_by,
                        reconciler.moment(a.confirmed_at)
            using errcode = 'P0409';
    end if;
    update reconciler.manual_actions b set confirmed_by = v_actor, confirmed_at = clock_timestamp()
    where b.id = a.id and b.workspace_id = a.workspace_id;
end
$$;

-- Several actions go back to automation after a fix: one canary first, the others when it has worked.
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

-- The actions that a return would take, the oldest first, which is the canary. An action that a person works on is left
-- out.
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

-- Sends the canary and stores the others; returns the id of the return, or null if there is nothing to return.
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
