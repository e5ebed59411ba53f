-- You give actions to a colleague: your own, or ones that nobody works on.
create function reconciler.hand_over(p_ids bigint[], p_assignee text, p_note text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        select reconciler.hand_over_action($1::bigint, $2, $3)
    $each$, p_assignee, p_note) e
$$;

create function reconciler.hand_over(p_id bigint, p_assignee text, p_note text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.hand_over(array[p_id], p_assignee, p_note)
$$;
