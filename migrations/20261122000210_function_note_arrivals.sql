-- A plain insert is the whole contract: the backend does not know a second table.
create function reconciler.note_arrivals() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.arrivals (task_id, workspace_id, integration_id, member_id, is_removal)
    select id, workspace_id, integration_id, member_id, operation = 'remove' from arrived;
    perform pg_notify('reconciler', 'arrivals');
    return null;
end
$$;
