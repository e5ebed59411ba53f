-- You send the open actions of an integration back to automation after a fix, by failure code and operation where they
-- are given. Returns the id of the return, or null if there is nothing to return. Between a look at the actions and their
-- return some may come and some may go: then nothing is sent that was not looked at.
create function reconciler.return_to_automation(p_workspace_id text, p_integration_id text, p_failure_code text,
                                                p_operation text, p_reason text,
                                                p_seen bigint[] default null)
    returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_actions bigint[];
    v_came bigint;
    v_went bigint;
begin
    if reconciler.is_blank(p_reason) then
        raise exception 'a return to automation needs a reason' using errcode = 'check_violation';
    end if;
    select array_agg(a.id) into v_actions
    from reconciler.returnable_actions(p_workspace_id, p_integration_id, p_failure_code, p_operation) a;
    if p_seen is not null then
        select count(*) into v_came from (select unnest(v_actions) except select unnest(p_seen)) came;
        select count(*) into v_went from (select unnest(p_seen) except select unnest(v_actions)) went;
    end if;
    if v_came + v_went > 0 then
        raise exception 'the actions have changed since: % new, % no longer open', v_came, v_went
            using errcode = 'P0412', hint = 'Look at the actions again.';
    end if;
    if v_actions is null then
        return null;
    end if;
    return reconciler.begin_return(p_workspace_id, p_integration_id, p_failure_code, p_operation, v_actions, p_reason);
end
$$;

-- You send these actions back to automation after a fix, and say what was fixed. Of several in one integration the
-- oldest goes first, and the others follow when it has worked.
create function reconciler.return_to_automation(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_chosen record;
    v_return bigint;
begin
    if reconciler.is_blank(p_reason) then
        raise exception 'a return to automation needs a reason' using errcode = 'check_violation';
    end if;
    for v_chosen in
        select a.workspace_id, a.integration_id, array_agg(a.id order by a.opened_at, a.id) as ids
        from reconciler.manual_actions a
        where a.id = any (p_ids) and a.status = 'open' and a.operation <> 'reconnect'
        group by 1, 2 having count(*) > 1
    loop
        v_return := reconciler.begin_return(v_chosen.workspace_id, v_chosen.integration_id, null, null, v_chosen.ids,
                                            p_reason);
        return query
            select c.id, case when c.place = 1 then 'returned' else 'waits for the canary of return ' || v_return end,
                   null::text
            from unnest(v_chosen.ids) with ordinality c (id, place);
        p_ids := array(select unnest(p_ids) except select unnest(v_chosen.ids));
    end loop;
    return query
        select e.id::bigint, e.became, e.refused
        from reconciler.answer_each('manual action', p_ids::text[], $each$
            update reconciler.manual_actions set status = 'returned', note = $2 where id = $1::bigint returning status
        $each$, p_reason, null, v_return is not null) e;
end
$$;

create function reconciler.return_to_automation(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.return_to_automation(array[p_id], p_reason)
$$;

comment on function reconciler.return_to_automation(bigint, text) is
    'Sends an open or in_progress action back to automation after a fix; the reason says what was fixed. Returns one '
    'row in which became is returned. Refuses an unknown id (P0002), an action of operation reconnect, one that is '
    'done or has ended (P0409), and a blank reason (23514). '
    'Example: select * from reconciler.return_to_automation(7, ''seats were bought'');';

comment on function reconciler.return_to_automation(bigint[], text) is
    'Does for several ids what return_to_automation does for one. Of several open actions in one integration, the '
    'oldest returns as the canary, and the others follow when its attempt has worked. Returns one row for each id, '
    'with what it became or why it was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.return_to_automation(array[7, 8], ''seats were bought'');';

comment on function reconciler.return_to_automation(text, text, text, text, text, bigint[]) is
    'Sends the open actions of an integration back to automation, the oldest as the canary; null takes every failure '
    'code or operation. Returns the id of the return, or null if there is no such action. With ids, these and no others '
    'are returned: it refuses (P0412) if others would be. Refuses a blank reason (23514). '
    'Example: select reconciler.return_to_automation(''acme'', ''int-1'', ''NotEnoughSeats'', null, ''seats '
    'were bought'');';
