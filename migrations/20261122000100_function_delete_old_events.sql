-- Only retention deletes from the trail. It cannot delete recent lines, and it records what it deleted. It does not
-- record the deletion of lines that are only such records.
create function reconciler.delete_old_events(p_older_than interval, p_limit integer) returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_deleted bigint;
begin
    if p_older_than < interval '30 days' then
        raise exception 'events are kept for at least 30 days, not %', p_older_than
            using errcode = 'check_violation';
    end if;
    perform set_config('reconciler.retention', 'on', true);
    -- The lowest ids are the oldest lines, so nothing else is read, however long the trail is.
    with gone as (
        delete from reconciler.events e
        using (select ctid as place, at from reconciler.events order by id limit p_limit) lowest
        where e.ctid = lowest.place and lowest.at < clock_timestamp() - p_older_than
        returning e.id, e.workspace_id, e.what, e.at
    ), recorded as (
        insert into reconciler.events (what, workspace_id, subject, subject_id, detail)
        select 'workspace.rows_deleted', workspace_id, 'workspace', workspace_id,
               jsonb_build_object('table', 'events', 'rows', count(*), 'from_id', min(id), 'to_id', max(id),
                                  'from', min(at), 'to', max(at))
        from gone where what <> 'workspace.rows_deleted' group by workspace_id
    )
    select count(*) into v_deleted from gone;
    perform set_config('reconciler.retention', '', true);
    return v_deleted;
end
$$;
