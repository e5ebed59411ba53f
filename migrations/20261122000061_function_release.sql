-- You give back actions that you work on.
create function reconciler.release(p_ids bigint[])
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        select reconciler.release_action($1::bigint)
    $each$) e
$$;

create function reconciler.release(p_id bigint)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.release(array[p_id])
$$;
