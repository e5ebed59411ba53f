-- You cancel tasks, and say why. The daemon ends them, and those in flight once nothing of them can take effect.
create function reconciler.cancel_task(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('task', p_ids::text[], $each$
        select reconciler.request_cancellation($1::bigint, $2)
    $each$, p_reason) e
$$;

create function reconciler.cancel_task(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.cancel_task(array[p_id], p_reason)
$$;
