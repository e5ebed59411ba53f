-- Stamps who ended a session and when, and records its start and its end in the trail. An ended session stays ended. Keeps
-- what is known of a person current.
create function reconciler.record_session() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if tg_op = 'UPDATE' then
        if old.ended_at is not null then
            raise exception 'session % was ended by % at %', old.id, old.ended_by, reconciler.moment(old.ended_at)
                using errcode = 'P0409';
        end if;
        new.ended_at := clock_timestamp();
        new.ended_by := reconciler.current_actor();
    end if;
    if tg_op = 'INSERT' and starts_with(new.actor, 'oidc:') then
        insert into reconciler.people (actor, email, role, workspaces)
        values (new.actor, new.email, new.role, new.workspaces)
        on conflict (actor) do update
            set email = excluded.email, role = excluded.role, workspaces = excluded.workspaces, signed_in_at = excluded.signed_in_at;
    end if;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values (case tg_op when 'INSERT' then 'session.started' else 'session.ended' end, '', 'session', new.id::text,
            jsonb_strip_nulls(jsonb_build_object('actor', new.actor, 'email', new.email, 'role', new.role, 'workspaces', new.workspaces,
                                                 'expires_at', new.expires_at)));
    return new;
end
$$;

create trigger new_sessions_are_recorded
    before insert on reconciler.sessions
    for each row execute function reconciler.record_session();

create trigger ended_sessions_are_recorded
    before update of ended_at on reconciler.sessions
    for each row execute function reconciler.record_session();
