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

comment on function reconciler.refuse_foreign_withdrawal(reconciler.manual_actions) is
    'Refuses (P0403) if the present actor is not the person who marked the action done; otherwise returns nothing.';
