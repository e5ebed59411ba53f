-- Records the ids of deleted rows in the trail, with one line for each statement and workspace.
create function reconciler.record_deletions() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'workspace.rows_deleted', workspace_id, 'workspace', workspace_id,
           jsonb_build_object('table', tg_table_name, 'rows', count(*), 'ids', jsonb_agg(id order by id))
    from old_rows group by workspace_id;
    return null;
end
$$;
