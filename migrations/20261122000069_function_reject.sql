-- You reject held reports, and say why: nothing of them is applied.
create function reconciler.reject(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('sync', p_ids::text[], $each$
        update reconciler.syncs set decision = 'rejected', decision_reason = $2
        where id = $1::bigint returning decision
    $each$, p_reason) e
$$;

create function reconciler.reject(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.reject(array[p_id], p_reason)
$$;
