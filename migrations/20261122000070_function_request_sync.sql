-- You ask for a sync of integrations now.
create function reconciler.request_sync(p_workspace_id text, p_integration_ids text[])
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id, e.became, e.refused
    from reconciler.answer_each('integration', p_integration_ids::text[], $each$
        select reconciler.request_snapshot($2, $1)
    $each$, p_workspace_id) e
$$;

create function reconciler.request_sync(p_workspace_id text, p_integration_id text)
    returns table (id text, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.request_sync(p_workspace_id, array[p_integration_id])
$$;
