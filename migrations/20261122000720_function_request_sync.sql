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

comment on function reconciler.request_sync(text, text) is
    'Requests a snapshot of an integration now; several requests share one sync. Returns one row in which became is '
    'sync requested. Refuses an unknown integration (P0002). '
    'Example: select * from reconciler.request_sync(''acme'', ''int-1'');';

comment on function reconciler.request_sync(text, text[]) is
    'Does for several ids what request_sync does for one. Returns one row for each id, with what it became or why it '
    'was refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.request_sync(''acme'', array[''int-1'', ''int-2'']);';
