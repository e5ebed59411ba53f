-- You confirm the statement of a colleague, where the app cannot be read and the integration asks for a second
-- person.
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

comment on function reconciler.confirm(bigint) is
    'Confirms a colleague''s statement, which is needed where the app cannot be read and the integration has '
    'four_eyes set, or had it set when the action was opened. The daemon then ends the action. Returns one row in which became is done. Refuses an unknown id '
    '(P0002), your own statement (P0403), an action that is not done, is confirmed already, or that needs no second '
    'person (P0409). '
    'Example: select * from reconciler.confirm(7);';

comment on function reconciler.confirm(bigint[]) is
    'Does for several ids what confirm does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.confirm(array[7, 8]);';
