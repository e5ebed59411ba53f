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

comment on function reconciler.hand_over(bigint, text, text) is
    'Gives an action to a colleague, with a note: your own, or one that nobody works on. Returns one row in which '
    'became is in_progress. Refuses an unknown id (P0002), an action of another colleague (P0403), one that is done or '
    'has ended and a colleague who may not work on it (P0409), and a blank note (23514). '
    'Example: select * from reconciler.hand_over(7, ''kim'', ''knows the app'');';

comment on function reconciler.hand_over(bigint[], text, text) is
    'Does for several ids what hand_over does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.hand_over(array[7, 8], ''kim'', ''knows the app'');';
