-- You state that you did what actions ask for. The app is read to prove it.
create function reconciler.mark_done(p_ids bigint[], p_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select e.id::bigint, e.became, e.refused
    from reconciler.answer_each('manual action', p_ids::text[], case
        when p_note is null
        then $each$ update reconciler.manual_actions set status = 'done' where id = $1::bigint returning status $each$
        else $each$ update reconciler.manual_actions set status = 'done', note = $2
                    where id = $1::bigint returning status $each$
    end, p_note) e
$$;

create function reconciler.mark_done(p_id bigint, p_note text default null)
    returns table (id bigint, became text, refused text)
    language sql set search_path = pg_catalog, pg_temp as
$$
    select * from reconciler.mark_done(array[p_id], p_note)
$$;

comment on function reconciler.mark_done(bigint, text) is
    'States that you made the change of an action; a note is optional. The app is then read to prove it, where it can '
    'be read. Returns one row in which became is done. Refuses an unknown id (P0002), an action that somebody else '
    'marked done, and one that has ended (P0409). '
    'Example: select * from reconciler.mark_done(7, ''removed in the admin console'');';

comment on function reconciler.mark_done(bigint[], text) is
    'Does for several ids what mark_done does for one. Returns one row for each id, with what it became or why it was '
    'refused. A refusal does not undo the others; for a single id it is an error. '
    'Example: select * from reconciler.mark_done(array[7, 8]);';
