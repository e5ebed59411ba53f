-- You end actions whose change is not to be made, and say why.
create function reconciler.dismiss(p_ids bigint[], p_note text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], $each$
        update reconciler.manual_actions set status = 'dismissed', note = $2 where id = $1::bigint returning status
    $each$, p_note) e
$$;

create function reconciler.dismiss(p_id bigint, p_note text)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.dismiss(array[p_id], p_note)
$$;
