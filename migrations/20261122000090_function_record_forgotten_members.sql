-- The same for members, which have no id: how many of which integration were deleted.
create function reconciler.record_forgotten_members() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
begin
    insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
    select 'workspace.rows_deleted', workspace_id, 'workspace', workspace_id,
           jsonb_build_object('table', tg_table_name, 'rows', sum(rows), 'integrations',
                              jsonb_object_agg(integration_id, rows))
    from (select workspace_id, integration_id, count(*) as rows from old_rows
          group by workspace_id, integration_id) gone
    group by workspace_id;
    return null;
end
$$;
