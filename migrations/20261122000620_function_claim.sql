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

comment on function reconciler.claim(bigint, text) is
    'Makes you the assignee of an open action; with a note, also of one that a colleague works on. Returns one row in '
    'which became is in_progress. Refuses an unknown id (P0002), an action of a colleague without a note (P0403), and '
    'one that is done or has ended (P0409). '
    'Example: select * from reconciler.claim(7);';

comment on function reconciler.claim(bigint[], text) is
    'Does for several ids what claim does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.claim(array[7, 8], ''kim is on leave'');';
