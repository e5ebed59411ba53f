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

comment on function reconciler.dismiss(bigint, text) is
    'Ends an action whose change is not to be made; the note says why. Returns one row in which became is dismissed. '
    'Refuses an unknown id (P0002), an action that has ended (P0409), and a blank note (23514). '
    'Example: select * from reconciler.dismiss(7, ''jo stays a member'');';

comment on function reconciler.dismiss(bigint[], text) is
    'Does for several ids what dismiss does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.dismiss(array[7, 8], ''both stay members'');';
