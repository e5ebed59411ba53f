-- People pause, resume, limit, protect and correct an integration; the daemon sets the other statuses. Only the
-- settings that changed are written, so that two people can set different ones of the same integration at a time.
create function reconciler.set_integration() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_set jsonb := reconciler.changed_settings(old, new);
    v_is_status boolean := (new.status, new.status_reason) is distinct from (old.status, old.status_reason);
begin
    if v_is_status then
        perform reconciler.check_integration_status(old, new);
        update reconciler.integration_settings s
        set paused_reason = case when new.status = 'paused' then new.status_reason end,
            paused_at = case when new.status = 'paused' then coalesce(s.paused_at, clock_timestamp()) end
        where s.workspace_id = old.workspace_id and s.integration_id = old.integration_id;
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        values (case new.status when 'paused' then 'integration.paused' else 'integration.resumed' end,
                old.workspace_id, 'integration', old.integration_id,
                jsonb_strip_nulls(jsonb_build_object(
                    'from', old.status,
                    -- A statement that only resumes still has the reason of the pause.
                    'reason', case when new.status = 'paused' then new.status_reason
                                   else nullif(new.status_reason, old.status_reason) end)));
    end if;
    if v_set is not null then
        update reconciler.integration_settings s
        set kind = case when v_set ? 'kind' then new.kind else s.kind end,
            application = case when v_set ? 'application' then new.application else s.application end,
            max_in_flight = case when v_set ? 'max_in_flight' then new.max_in_flight else s.max_in_flight end,
            starts_per_minute = case when v_set ? 'starts_per_minute' then new.starts_per_minute
                                     else s.starts_per_minute end,
            own_account = case when v_set ? 'own_account' then new.own_account else s.own_account end,
            administrator_roles = case when v_set ? 'administrator_roles' then new.administrator_roles
                                       else s.administrator_roles end,
            snapshot_every_s = case when v_set ? 'snapshot_every_s' then new.snapshot_every_s
                                    else s.snapshot_every_s end,
            four_eyes = case when v_set ? 'four_eyes' then new.four_eyes else s.four_eyes end,
            loosened_at = case when (old.four_eyes and not new.four_eyes) or v_set ?| array['kind', 'application']
                               then clock_timestamp() else s.loosened_at end
        where s.workspace_id = old.workspace_id and s.integration_id = old.integration_id;
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        values ('integration.set', old.workspace_id, 'integration', old.integration_id, v_set);
    end if;
    if new.status is distinct from old.status then
        insert into reconciler.nudges (workspace_id, integration_id, what)
        values (old.workspace_id, old.integration_id,
                case when new.status = 'paused' then 'paused' when old.status = 'paused' then 'unpaused'
                     else 'reset' end);
        perform pg_notify('reconciler', 'nudges');
    end if;
    -- A resumed integration may still be on hold for another cause: the statement returns what it is now.
    select i.status, i.status_reason into new.status, new.status_reason from reconciler.integrations i
    where i.workspace_id = old.workspace_id and i.integration_id = old.integration_id;
    return new;
end
$$;

create trigger settings_are_written
    instead of update on reconciler.integrations
    for each row execute function reconciler.set_integration();
