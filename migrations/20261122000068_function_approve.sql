-- You approve held reports, and say why: each is applied if the app still shows the same.
create function reconciler.approve(p_ids bigint[], p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('sync', p_ids::text[], $each$
        update reconciler.syncs set decision = 'approved', decision_reason = $2
        where id = $1::bigint returning decision
    $each$, p_reason) e
$$;

create function reconciler.approve(p_id bigint, p_reason text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.approve(array[p_id], p_reason)
$$;
