-- You withdraw your statement that actions are done, until they are judged.
create function reconciler.withdraw(p_ids bigint[])
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        select reconciler.withdraw_action($1::bigint)
    $each$) e
$$;

create function reconciler.withdraw(p_id bigint)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.withdraw(array[p_id])
$$;
