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

comment on function reconciler.withdraw(bigint) is
    'Withdraws your statement that an action is done. Returns one row in which became is open. Refuses an unknown id '
    '(P0002), the statement of somebody else (P0403), an action that is not done (P0409), and a statement that was '
    'judged (P0410). '
    'Example: select * from reconciler.withdraw(7);';

comment on function reconciler.withdraw(bigint[]) is
    'Does for several ids what withdraw does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.withdraw(array[7, 8]);';
