-- A second person confirms the statement of the first, where nothing else can prove it. The daemon then closes the
-- action.
create function reconciler.confirm_action(p_action_id bigint) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actor text := reconciler.current_actor();
    a reconciler.manual_actions := reconciler.lock_action(p_action_id);
begin
    if a.status <> 'done' then
        raise exception 'manual action % is %: only one that is marked done can be confirmed', a.id, a.status
            using errcode = 'P0409';
    end if;
    if not exists (select from reconciler.integration_settings s
                   where s.workspace_id = a.workspace_id and s.integration_id = a.integration_id
                     and reconciler.needs_second_person(s.four_eyes, s.loosened_at, a.opened_at)) then
        raise exception 'integration % asks for no second person', a.integration_id
            using errcode = 'P0409';
    end if;
    if not reconciler.is_second_person(a.done_by, v_actor) then
        raise exception 'manual action % was marked done by %: somebody else has to confirm it', a.id, a.done_by
            using errcode = 'P0403', hint = 'Who made a token is no second person for it, nor it for them.';
    end if;
    if a.confirmed_at is not null then
        raise exception 'manual action % was confirmed by % at %', a.id, a.confirmed_by,
                        reconciler.moment(a.confirmed_at)
            using errcode = 'P0409';
    end if;
    update reconciler.manual_actions b set confirmed_by = v_actor, confirmed_at = clock_timestamp()
    where b.id = a.id and b.workspace_id = a.workspace_id;
    return 'done';
end
$$;

comment on function reconciler.confirm_action(bigint) is 'Does what confirm does for one action, and returns done.';
