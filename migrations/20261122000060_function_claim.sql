-- You take actions: open ones, or, with a reason, ones that a colleague works on.
create function reconciler.claim(p_ids bigint[], p_take_over_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        select reconciler.claim_action($1::bigint, $2)
    $each$, p_take_over_note) e
$$;

create function reconciler.claim(p_id bigint, p_take_over_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.claim(array[p_id], p_take_over_note)
$$;
