-- The assignee keeps an action until they hand it over or release it, or somebody takes it over with a reason.
create function reconciler.refuse_foreign_claim(a reconciler.manual_actions) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if not reconciler.is_same_person(a.assignee, reconciler.current_actor()) then
        raise exception 'manual action % is in progress: % has worked on it since %', a.id, a.assignee,
                        reconciler.moment(a.assigned_at)
            using errcode = 'P0403',
                  hint = format('To take it over: select * from reconciler.claim(%s, ''why'')', a.id);
    end if;
end
$$;

comment on function reconciler.refuse_foreign_claim(reconciler.manual_actions) is
    'Refuses (P0403) if the present actor is not the assignee of the action; otherwise returns nothing.';
