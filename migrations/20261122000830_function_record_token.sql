-- Stamps who made or revoked a token and when, and records it in the trail. A token that was revoked stays revoked.
create function reconciler.record_token() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if tg_op = 'UPDATE' then
        if old.revoked_at is not null then
            raise exception 'token % was revoked by % at %', old.name, old.revoked_by, reconciler.moment(old.revoked_at)
                using errcode = 'P0409';
        end if;
        new.revoked_at := clock_timestamp();
        new.revoked_by := reconciler.current_actor();
    end if;
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    values (case tg_op when 'INSERT' then 'token.created' else 'token.revoked' end, '', 'token', new.name,
            jsonb_strip_nulls(jsonb_build_object('role', new.role, 'workspaces', new.workspaces,
                                                 'expires_at', new.expires_at)));
    return new;
end
$$;

create trigger new_tokens_are_recorded
    before insert on reconciler.tokens
    for each row execute function reconciler.record_token();

create trigger revoked_tokens_are_recorded
    before update of revoked_at on reconciler.tokens
    for each row execute function reconciler.record_token();
