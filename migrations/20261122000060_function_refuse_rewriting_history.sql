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
