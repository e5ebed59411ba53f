-- You confirm the statement of a colleague, where the app cannot be read and the integration has four_eyes set.
create function reconciler.confirm(p_ids bigint[])
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        select reconciler.confirm_action($1::bigint)
    $each$) e
$$;

create function reconciler.confirm(p_id bigint)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.confirm(array[p_id])
$$;
