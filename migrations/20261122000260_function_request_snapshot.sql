-- A person requests a snapshot now; the daemon makes one request from all of them.
create function reconciler.request_snapshot(p_workspace_id text, p_integration_id text) returns text
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    if not exists (select from reconciler.integration_settings
                   where workspace_id = p_workspace_id and integration_id = p_integration_id) then
        raise exception 'there is no integration % in workspace %', p_integration_id, p_workspace_id
            using errcode = 'no_data_found';
    end if;
    insert into reconciler.nudges (workspace_id, integration_id, what)
    values (p_workspace_id, p_integration_id, 'snapshot');
    insert into reconciler.events (what, workspace_id, subject, subject_id)
    values ('integration.snapshot_requested', p_workspace_id, 'integration', p_integration_id);
    perform pg_notify('reconciler', 'nudges');
    return 'sync requested';
end
$$;

comment on function reconciler.request_snapshot(text, text) is
    'Does what request_sync does for one integration, and returns sync requested.';
