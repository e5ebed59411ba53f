-- A person who sets a status that the action already has may be about to repeat or overwrite a colleague's claim or
-- statement, which is refused. Repeating one's own statement changes nothing. The daemon sets the same status when it
-- judges.
create function reconciler.guard_repeated_status() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as
$$
begin
    if reconciler.is_daemon() then
        return new;
    end if;
    if old.status = 'in_progress' then
        perform reconciler.refuse_foreign_claim(old);
    elsif old.status = 'done' and not reconciler.is_same_person(old.done_by, reconciler.current_actor()) then
        raise exception 'manual action % was marked done before: by % at %', old.id, old.done_by,
                        reconciler.moment(old.done_at)
            using errcode = 'P0409';
    end if;
    return new;
end
$$;
