-- Locks a sync for whoever saw it at a revision.
create function reconciler.expect_sync(p_sync_id bigint, p_revision bigint) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as
$$
declare
    v_revision bigint;
    v_state text;
begin
    perform from reconciler.syncs s where s.id = p_sync_id for no key update;
    if not found then
        raise exception 'there is no sync %', p_sync_id using errcode = 'no_data_found';
    end if;
    select s.xmin::text::bigint, s.state into v_revision, v_state from reconciler.syncs s where s.id = p_sync_id;
    if p_revision is distinct from v_revision then
        raise exception 'sync % has changed since: it is %', p_sync_id, v_state
            using errcode = 'P0412', hint = 'Read it again.';
    end if;
end
$$;

comment on function reconciler.expect_sync(bigint, bigint) is
    'Locks a sync until the transaction ends, and refuses (P0412) if it has another revision than it was read with.';
