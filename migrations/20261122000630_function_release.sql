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

comment on function reconciler.release(bigint) is
    'Gives back an action that you work on. Returns one row in which became is open. Refuses an unknown id (P0002), '
    'an action of a colleague (P0403), and one that is not in_progress (P0409). '
    'Example: select * from reconciler.release(7);';

comment on function reconciler.release(bigint[]) is
    'Does for several ids what release does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.release(array[7, 8]);';
